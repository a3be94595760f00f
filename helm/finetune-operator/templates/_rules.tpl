{{/*
What the operator may do where it works. No Secret: pods name theirs, and the kubelet reads them.
Server-side apply is a patch, and a create where there is nothing yet.
*/}}
{{- define "finetune-operator.rules" -}}
# The parents. kopf keeps its finalizer and annotations in them; a finished job is deleted after its ttl.
- apiGroups: [finetune.dev]
  resources: [finetunejobs]
  verbs: [get, list, watch, patch, delete]
# Also the child of a job with an inline deployment.
- apiGroups: [finetune.dev]
  resources: [modeldeployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [finetune.dev]
  resources: [finetunejobs/status, modeldeployments/status]
  verbs: [patch]
# For blockOwnerDeletion in children, where OwnerReferencesPermissionEnforcement is on.
- apiGroups: [finetune.dev]
  resources: [finetunejobs/finalizers, modeldeployments/finalizers]
  verbs: [update]
# The children.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [configmaps, services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, patch, delete]
# Servers on several nodes, where LeaderWorkerSet is installed.
- apiGroups: [leaderworkerset.x-k8s.io]
  resources: [leaderworkersets]
  verbs: [get, list, watch, create, patch, delete]
# A canary's share of the requests, where Gateway API is installed.
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get, list, watch, create, patch, delete]
# Replicas by what Prometheus knows, where KEDA is installed.
- apiGroups: [keda.sh]
  resources: [scaledobjects]
  verbs: [get, list, watch, create, patch, delete]
# Never deleted by the operator: a claim goes with its owner.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch, create, patch]
# Exit codes and termination messages.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
# Listed for what is late only: they say why pods are refused, or do not start.
- apiGroups: [""]
  resources: [events]
  verbs: [list, create, patch]
{{- end }}
