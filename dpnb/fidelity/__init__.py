"""What a switch costs the picture: how far two pictures differ, and where."""
