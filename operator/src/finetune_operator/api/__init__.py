"""The API group finetune.dev/v1alpha1: the one source of the CRDs, the run contract and the validation."""

GROUP = "finetune.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
