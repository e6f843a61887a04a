"""All that speaks to Triton itself: one connection, in this project's terms and errors."""
