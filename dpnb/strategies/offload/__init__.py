"""The engine under offloading: weights stream to the device while it computes."""
