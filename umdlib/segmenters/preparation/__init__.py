"""What adapters share: crops, slices, checks of an output."""
