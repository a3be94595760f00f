"""The children of a ModelDeployment, as pure builders: one file per noun."""
