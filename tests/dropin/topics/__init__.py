"""The scripts by topic: each module here holds some as `SCRIPTS`, by name."""
