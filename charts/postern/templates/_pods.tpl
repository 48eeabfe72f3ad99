{{/* What the restricted profile asks of a pod. */}}
{{- define "postern.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{/* What it asks of a container. */}}
{{- define "postern.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* What a pod that asks and ends needs. */}}
{{- define "postern.smallResources" -}}
requests: {cpu: 10m, memory: 32Mi, ephemeral-storage: 16Mi}
limits: {memory: 128Mi, ephemeral-storage: 64Mi}
{{- end -}}

{{/* Pods of one kind on nodes of their own, where there are enough: (list $ "gateway"). */}}
{{- define "postern.spread" -}}
{{- $selector := include "postern.selector" . -}}
{{- range $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
- maxSkew: 1
  topologyKey: {{ $key }}
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels: {{- $selector | nindent 6 }}
{{- end -}}
{{- end -}}

{{/* Where pods may run: the values of a component. */}}
{{- define "postern.placement" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "postern.probes" -}}
startupProbe: {httpGet: {path: /healthz, port: admin}, periodSeconds: 1, failureThreshold: 60}
livenessProbe: {httpGet: {path: /healthz, port: admin}, periodSeconds: 10, timeoutSeconds: 5}
readinessProbe: {httpGet: {path: /readyz, port: admin}, periodSeconds: 2, timeoutSeconds: 2}
{{- end -}}

{{/* Where a dataplane gets its snapshot: arguments. */}}
{{- define "postern.source" -}}
- --operator={{ include "postern.push" . }}
- --operator-name={{ include "postern.operator" . }}-operator
{{- with .Values.tenants }}
- {{ printf "--tenants=%s" (toJson .) | quote }}
{{- end }}
- --operator-ca=/var/run/postern/operator/ca.crt
- --operator-token=/var/run/secrets/postern/token
{{- end -}}

{{- define "postern.sourceMounts" -}}
- {name: operator-ca, mountPath: /var/run/postern/operator, readOnly: true}
- {name: token, mountPath: /var/run/secrets/postern, readOnly: true}
{{- end -}}

{{/* The token names this pod to the operator only. */}}
{{- define "postern.sourceVolumes" -}}
- name: operator-ca
  configMap: {name: postern-operator-authority}
- name: token
  projected:
    sources: [{serviceAccountToken: {path: token, audience: postern-operator, expirationSeconds: 3600}}]
{{- end -}}

{{/* The settings and the Secrets that they name: (list $ "gateway"). */}}
{{- define "postern.settingsMounts" -}}
- {name: settings, mountPath: /etc/postern/settings, readOnly: true}
- {name: shard-tls, mountPath: /etc/postern/tls, readOnly: true}
- {name: passwords, mountPath: /etc/postern/secrets, readOnly: true}
{{- end -}}

{{- define "postern.settingsVolumes" -}}
{{- $root := index . 0 -}}
{{- $name := include "postern.name" $root -}}
- name: settings
  configMap: {name: {{ $name }}-settings}
- name: shard-tls
  secret: {secretName: {{ printf "%s-%s" ($root.Values.shardTLS.secretPrefix | default (include "postern.shardTLS" $root)) (index . 1) }}, defaultMode: 0440}
- name: passwords
  projected:
    defaultMode: 0440
    sources:
      {{- if $root.Values.demo.enabled }}
      - secret: {name: {{ $name }}-demo, items: [{key: broker-password, path: broker-password}]}
      {{- else }}
      - secret:
          name: {{ required "broker.passwordSecret.name: name the Secret with the password of broker.user" $root.Values.broker.passwordSecret.name }}
          items: [{key: {{ $root.Values.broker.passwordSecret.key }}, path: broker-password}]
      {{- end }}
      {{- with $root.Values.broker.caSecret }}{{ if .name }}
      - secret: {name: {{ .name }}, items: [{key: {{ .key }}, path: broker-ca.pem}]}
      {{- end }}{{ end }}
      {{- with $root.Values.redis.passwordSecret }}{{ if .name }}
      - secret: {name: {{ .name }}, items: [{key: {{ .key }}, path: redis-password}]}
      {{- end }}{{ end }}
      {{- with $root.Values.redis.caSecret }}{{ if .name }}
      - secret: {name: {{ .name }}, items: [{key: {{ .key }}, path: redis-ca.pem}]}
      {{- end }}{{ end }}
{{- end -}}
