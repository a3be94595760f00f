{{/* Names and labels. https://helm.sh/docs/chart_best_practices/labels/ */}}

{{- define "finetune-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{- define "finetune-operator.fullname" -}}
{{- $name := include "finetune-operator.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{- define "finetune-operator.serviceAccountName" -}}
{{- default (include "finetune-operator.fullname" .) .Values.serviceAccount.name -}}
{{- end }}

{{/* What selects the operator's pod: it never changes. */}}
{{- define "finetune-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "finetune-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "finetune-operator.labels" -}}
{{ include "finetune-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: finetune-operator
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* The namespaces of scope namespaced, as a JSON list; empty with scope cluster. */}}
{{- define "finetune-operator.namespaces" -}}
{{- if eq .Values.scope "namespaced" -}}
{{- default (list .Release.Namespace) .Values.namespaces | toJson -}}
{{- else -}}
[]
{{- end -}}
{{- end }}
