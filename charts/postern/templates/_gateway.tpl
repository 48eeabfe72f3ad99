{{/* The pod of a gateway: (dict "root" $ "component" "gateway" "tag" "" "digest" ""). */}}
{{- define "postern.gatewayPod" -}}
{{- $root := .root }}
{{- $gateway := $root.Values.gateway }}
{{- $brokered := include "postern.brokered" $root }}
metadata:
  labels: {{- include "postern.labels" (list $root .component) | nindent 4 }}
    postern.dev/requests: {{ include "postern.name" $root }}
  annotations:
    {{- if $brokered }}
    postern.dev/settings: {{ include (print $root.Template.BasePath "/settings.yaml") $root | sha256sum }}
    {{- end }}
    {{- with $gateway.podAnnotations }}{{ toYaml . | nindent 4 }}{{ end }}
spec:
  serviceAccountName: {{ include "postern.name" $root }}-dataplane
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ add $gateway.preStopSeconds $gateway.drainSeconds 10 }}
  securityContext: {{- include "postern.podSecurity" $root | nindent 4 }}
  {{- with $root.Values.image.pullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- include "postern.placement" $gateway | nindent 2 }}
  topologySpreadConstraints: {{- include "postern.spread" (list $root .component) | nindent 4 }}
  containers:
    - name: gateway
      image: {{ include "postern.image" (list $root .tag .digest) }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      args:
        - dataplane
        - --role={{ ternary "gateway" "all" (eq $brokered "true") }}
        - --listen=0.0.0.0:8080
        - --admin=0.0.0.0:9901
        - --data=/var/lib/postern
        - --cores={{ $gateway.cores }}
        - --drain={{ $gateway.drainSeconds }}s
        {{- with $gateway.bodyMemory }}
        - --body-memory={{ . }}
        {{- end }}
        - --trusted-hops={{ $gateway.trustedHops }}
        {{- range $gateway.trustedProxies }}
        - --trusted-proxy={{ . }}
        {{- end }}
        {{- range $gateway.headers.remove }}
        - --remove-header={{ . }}
        {{- end }}
        {{- range $gateway.headers.keep }}
        - --keep-header={{ . }}
        {{- end }}
        {{- range $gateway.headers.fromTrustedProxies }}
        - --trusted-header={{ . }}
        {{- end }}
        {{- range $gateway.allowedUpstreams }}
        - --allow-upstream={{ . }}
        {{- end }}
        {{- if $root.Values.countryDatabase.claim }}
        - --country-database=/etc/postern/countries/{{ $root.Values.countryDatabase.file }}
        {{- end }}
        {{- if $brokered }}
        - --settings=/etc/postern/settings/settings.yaml
        {{- end }}
        {{- include "postern.source" $root | nindent 8 }}
        {{- if eq .component "gateway-canary" }}
        - --canary
        {{- end }}
      env:
        - {name: POSTERN_LOG, value: {{ $root.Values.log.filter | quote }}}
        - {name: POSTERN_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
      ports:
        - {name: http, containerPort: 8080}
        - {name: admin, containerPort: 9901}
      {{- include "postern.probes" $root | nindent 6 }}
      lifecycle: {preStop: {sleep: {seconds: {{ $gateway.preStopSeconds }}}}}
      securityContext: {{- include "postern.containerSecurity" $root | nindent 8 }}
      resources: {{- toYaml $gateway.resources | nindent 8 }}
      volumeMounts:
        {{- include "postern.sourceMounts" $root | nindent 8 }}
        - {name: data, mountPath: /var/lib/postern}
        {{- if $root.Values.countryDatabase.claim }}
        - {name: countries, mountPath: /etc/postern/countries, readOnly: true}
        {{- end }}
        {{- if $brokered }}
        {{- include "postern.settingsMounts" $root | nindent 8 }}
        {{- end }}
  volumes:
    {{- include "postern.sourceVolumes" $root | nindent 4 }}
    {{- with $root.Values.countryDatabase.claim }}
    - name: countries
      persistentVolumeClaim: {claimName: {{ . }}, readOnly: true}
    {{- end }}
    {{- if $brokered }}
    # The last good snapshot, secrets in it: in memory, so that it outlives its container and not its pod.
    - {name: data, emptyDir: {medium: Memory, sizeLimit: 256Mi}}
    {{- include "postern.settingsVolumes" (list $root "gateway") | nindent 4 }}
    {{- end }}
{{- end -}}
