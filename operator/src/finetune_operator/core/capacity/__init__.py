"""How much memory and disk a job and a deployment need, by arithmetic alone: docs/guides/fits.md."""
