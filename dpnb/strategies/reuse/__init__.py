"""What a network has computed in one step of a run, used again in later ones."""
