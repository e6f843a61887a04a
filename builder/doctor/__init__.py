"""What a device and a repository say when they are held against each other: what fits, what does not, what mends it."""
