"""The parts that networks are built of; they know torch alone."""
