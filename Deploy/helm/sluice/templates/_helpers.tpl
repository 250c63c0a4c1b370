{{- define "sluice.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* Of all that the release makes. */}}
{{- define "sluice.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (include "sluice.name" .) .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "sluice.name" .) | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "sluice.selector" -}}
app.kubernetes.io/name: {{ include "sluice.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "sluice.labels" -}}
{{ include "sluice.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "sluice.image" -}}
{{- with .Values.image -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}
{{- else }}{{ .repository }}:{{ default $.Chart.AppVersion .tag }}
{{- end }}
{{- end }}
{{- end }}

{{- define "sluice.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ default (include "sluice.fullname" .) .Values.serviceAccount.name }}
{{- else }}{{ default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* The Secret at /run/secrets/sluice; empty: there is none. */}}
{{- define "sluice.secret" -}}
{{- if .Values.secret.existing }}{{ .Values.secret.existing }}
{{- else if .Values.secret.data }}{{ include "sluice.fullname" . }}
{{- end }}
{{- end }}

{{/* The Secret with REDIS_PASSWORD. */}}
{{- define "sluice.redisSecret" -}}
{{- default (printf "%s-redis" (include "sluice.fullname" .)) .Values.redis.existingSecret }}
{{- end }}

{{/* The text of sluice.yaml. */}}
{{- define "sluice.config" -}}
{{- if kindIs "string" .Values.config }}
{{- .Values.config | trim }}
{{- else }}
{{- $config := deepCopy .Values.config }}
{{- if not $config.upstreams }}{{ fail "config.upstreams: name at least one provider; values.yaml shows how" }}{{ end }}
{{- if not $config.routes }}{{ fail "config.routes: at least one is needed; values.yaml shows how" }}{{ end }}
{{- if not $config.listeners }}
{{- $_ := set $config "listeners" (list (dict "address" (printf "0.0.0.0:%d" (int .Values.ports.http)))) }}
{{- end }}
{{- if not $config.admin }}
{{- $_ := set $config "admin" (dict "address" (printf "0.0.0.0:%d" (int .Values.ports.admin)) "expose" (list "metrics")) }}
{{- end }}
{{- if and .Values.redis.enabled (not $config.redis) }}
{{- $_ := set $config "redis" (dict "url" (printf "redis://:${REDIS_PASSWORD}@%s-redis:6379/0" (include "sluice.fullname" .))) }}
{{- end }}
{{- toYaml $config }}
{{- end }}
{{- end }}

{{/* Services and probes go to ports that the configuration listens on, or nothing is installed. */}}
{{- define "sluice.check" -}}
{{- $config := include "sluice.config" . | fromYaml }}
{{- with $config.Error }}{{ fail (printf "config is no YAML: %s" .) }}{{ end }}
{{- $admin := dig "admin" "address" "" $config }}
{{- $port := printf ":%d" (int .Values.ports.admin) }}
{{- if not (or (contains "$" $admin) (hasSuffix $port $admin)) }}
{{- fail (printf "config.admin.address: must end in %s (ports.admin), where probes ask, and Prometheus" $port) }}
{{- end }}
{{- if regexMatch "^(127\\.|localhost:|\\[::1\\])" $admin }}
{{- fail "config.admin.address: the kubelet asks from outside of the pod: 0.0.0.0, with expose: [metrics]" }}
{{- end }}
{{- $port := printf ":%d" (int .Values.ports.http) }}
{{- $found := false }}
{{- range $config.listeners }}
{{- if or (contains "$" .address) (hasSuffix $port .address) }}{{ $found = true }}{{ end }}
{{- end }}
{{- if not $found }}{{ fail (printf "config.listeners: none is at %s (ports.http), where the Service leads" $port) }}{{ end }}
{{- end }}

{{/* Seconds of a duration of sluice.yaml, rounded up. */}}
{{- define "sluice.seconds" -}}
{{- $text := toString . }}
{{- if has $text (list "0" "off" "never" "false") }}0
{{- else if hasSuffix "ms" $text }}{{ div (add (trimSuffix "ms" $text | atoi) 999) 1000 }}
{{- else if regexMatch "^[0-9]+s$" $text }}{{ trimSuffix "s" $text | atoi }}
{{- else if regexMatch "^[0-9]+m$" $text }}{{ mul (trimSuffix "m" $text | atoi) 60 }}
{{- else if regexMatch "^[0-9]+h$" $text }}{{ mul (trimSuffix "h" $text | atoi) 3600 }}
{{- else }}{{ fail (printf "'%s' is no duration that the chart can read: set terminationGracePeriodSeconds" $text) }}
{{- end }}
{{- end }}

{{/* What a pod may take to end: the delay, the streams, 10 s for the last bytes to slow readers, and a margin. */}}
{{- define "sluice.gracePeriod" -}}
{{- if .Values.terminationGracePeriodSeconds }}{{ int .Values.terminationGracePeriodSeconds }}
{{- else }}
{{- $config := include "sluice.config" . | fromYaml }}
{{- $delay := include "sluice.seconds" (dig "drain_delay" "0" $config) | int }}
{{- $timeout := include "sluice.seconds" (dig "drain_timeout" "10m" $config) | int }}
{{- add $delay $timeout 20 }}
{{- end }}
{{- end }}

{{/* Changes when new pods are needed to take a new configuration over. */}}
{{- define "sluice.restartSum" -}}
{{- if .Values.watch }}
{{- $config := include "sluice.config" . | fromYaml }}
{{- list $config.workers $config.admin | toJson | sha256sum }}
{{- else }}
{{- include "sluice.config" . | sha256sum }}
{{- end }}
{{- end }}

{{- define "sluice.redisSelector" -}}
app.kubernetes.io/name: {{ include "sluice.name" . }}-redis
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
