{{/* An image with its digest, or else its tag. Call with (dict "image" IMAGE "chart" .Chart). */}}
{{- define "finetune-operator.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ default .chart.AppVersion .image.tag }}
{{- end -}}
{{- end }}

{{/* What the operator is told, as the file that it reads at its start. */}}
{{- define "finetune-operator.config" -}}
images:
{{- range $role := list "trainer" "converter" "server" }}
  {{ $role }}: {{ include "finetune-operator.image" (dict "image" (get $.Values.images $role) "chart" $.Chart) }}
{{- end }}
imagePullPolicy: {{ .Values.imagePullPolicy }}
gpuMemory: {{ .Values.gpuMemory | quote }}
gpusPerNode: {{ .Values.gpusPerNode }}
cache:
  claimName: {{ .Values.cache.claimName | quote }}
egress:
  httpProxy: {{ .Values.egress.httpProxy | quote }}
  httpsProxy: {{ .Values.egress.httpsProxy | quote }}
  noProxy: {{ .Values.egress.noProxy | quote }}
  hubEndpoint: {{ .Values.egress.hubEndpoint | quote }}
  caBundle:
    configMap: {{ .Values.egress.caBundle.configMap | quote }}
    key: {{ .Values.egress.caBundle.key | quote }}
progressFrom:
  - namespaceSelector:
      matchLabels:
        kubernetes.io/metadata.name: {{ .Release.Namespace }}
    podSelector:
      matchLabels:
        {{- include "finetune-operator.selectorLabels" . | nindent 8 }}
{{- with .Values.progressFrom }}
{{ toYaml . | indent 2 }}
{{- end }}
# None: all of them.
namespaces: {{ include "finetune-operator.namespaces" . }}
ports:
  health: {{ .Values.ports.health }}
  metrics: {{ .Values.ports.metrics }}
log:
  level: {{ .Values.log.level }}
  format: {{ .Values.log.format }}
leaderElection:
  resourceNamespace: {{ .Release.Namespace }}
  resourceName: {{ include "finetune-operator.fullname" . }}
  {{- toYaml .Values.leaderElection | nindent 2 }}
{{- end }}
