"""What makes the numbers on our pages, and what tries to break the tool."""
