"""The Kubernetes API: the only code that talks to it. It decides nothing; finetune/ and serving/ do."""
