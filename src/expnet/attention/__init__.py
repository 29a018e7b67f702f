"""What each attention head says about each token, taken from inside the fused kernel."""
