{{/* Prefix of all names. */}}
{{- define "postern.name" -}}
{{- .Values.fullnameOverride | default .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* Labels that select pods: (list $ "gateway"). */}}
{{- define "postern.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: postern
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* Labels of every object: (list $ "gateway"). */}}
{{- define "postern.labels" -}}
{{- $root := index . 0 -}}
{{ include "postern.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
app.kubernetes.io/part-of: postern
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* The image: (list $ tag digest), both may be empty. */}}
{{- define "postern.image" -}}
{{- $image := (index . 0).Values.image -}}
{{- $tag := index . 1 | default $image.tag | default (index . 0).Chart.AppVersion -}}
{{- $digest := index . 2 -}}
{{- if and (not $digest) (not (index . 1)) -}}{{- $digest = $image.digest -}}{{- end -}}
{{- if $digest -}}{{ $image.repository }}@{{ $digest }}{{- else -}}{{ $image.repository }}:{{ $tag }}{{- end -}}
{{- end -}}

{{/* "true" when events go through a broker. */}}
{{- define "postern.brokered" -}}
{{- if or .Values.broker.addresses .Values.demo.enabled -}}true{{- end -}}
{{- end -}}

{{/* The release whose operator is followed. */}}
{{- define "postern.operator" -}}
{{- .Values.operator.of | default (include "postern.name" .) -}}
{{- end -}}

{{/* The prefix of the Secrets with the certificates of shards, when the operator makes them. */}}
{{- define "postern.shardTLS" -}}
{{- if and (or (include "postern.brokered" .) .Values.operator.sets) (not .Values.shardTLS.secretPrefix) -}}
{{ include "postern.operator" . }}-tls
{{- end -}}
{{- end -}}

{{/* The address of the operator's push. */}}
{{- define "postern.push" -}}
https://{{ include "postern.operator" . }}-operator.{{ .Release.Namespace }}.svc:8443
{{- end -}}
