"""The chapter on the learned gap."""
