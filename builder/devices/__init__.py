"""What a machine says of itself: `record` is what is known, the others read it from the places where it stands."""
