"""The controller and the command-line client."""
