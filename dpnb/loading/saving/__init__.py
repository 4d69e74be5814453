"""What a pipeline is saved as: folders that change all at once, and DDUF files."""
