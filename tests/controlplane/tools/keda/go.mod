// KEDA's CRDs alone: nothing of it is built.
module finetune.dev/tests/controlplane/tools/keda

go 1.26.0

require github.com/kedacore/keda/v2 v2.21.0
