{{/* The pod of a deliver or a spool shard: (dict "root" $ "role" "deliver" "values" .Values.deliver). */}}
{{- define "postern.keeperPod" -}}
{{- $root := .root }}
metadata:
  labels: {{- include "postern.labels" (list $root .role) | nindent 4 }}
  annotations:
    postern.dev/settings: {{ include (print $root.Template.BasePath "/settings.yaml") $root | sha256sum }}
spec:
  serviceAccountName: {{ include "postern.name" $root }}-dataplane
  automountServiceAccountToken: false
  enableServiceLinks: false
  # What is in flight is finished; an attempt takes a minute at most.
  terminationGracePeriodSeconds: 75
  securityContext: {{- include "postern.podSecurity" $root | nindent 4 }}
  {{- with $root.Values.image.pullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- include "postern.placement" .values | nindent 2 }}
  topologySpreadConstraints: {{- include "postern.spread" (list $root .role) | nindent 4 }}
  containers:
    - name: {{ .role }}
      image: {{ include "postern.image" (list $root "" "") }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      args:
        - dataplane
        - --role={{ .role }}
        - --admin=0.0.0.0:9901
        - --data=/var/lib/postern
        - --settings=/etc/postern/settings/settings.yaml
        {{- range $root.Values.gateway.allowedUpstreams }}
        - --allow-upstream={{ . }}
        {{- end }}
        {{- include "postern.source" $root | nindent 8 }}
      env:
        - {name: POSTERN_LOG, value: {{ $root.Values.log.filter | quote }}}
        - {name: POSTERN_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        - {name: POSTERN_ADDRESS, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
      ports:
        - {name: admin, containerPort: 9901}
        {{- if eq .role "spool" }}
        - {name: shard, containerPort: 7443}
        {{- end }}
      {{- include "postern.probes" $root | nindent 6 }}
      securityContext: {{- include "postern.containerSecurity" $root | nindent 8 }}
      resources: {{- toYaml .values.resources | nindent 8 }}
      volumeMounts:
        {{- include "postern.sourceMounts" $root | nindent 8 }}
        {{- include "postern.settingsMounts" $root | nindent 8 }}
        - {name: data, mountPath: /var/lib/postern}
  volumes:
    {{- include "postern.sourceVolumes" $root | nindent 4 }}
    {{- include "postern.settingsVolumes" (list $root .role) | nindent 4 }}
    {{- if eq .role "deliver" }}
    # The last good snapshot, secrets in it: in memory, so that it outlives its container and not its pod.
    - {name: data, emptyDir: {medium: Memory, sizeLimit: 256Mi}}
    {{- end }}
{{- end -}}
