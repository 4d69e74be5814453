"""What a picture was drawn with: written into its file, read from it, and drawn again."""
