{{/* A name for all objects, that even the strictest of them may have: a Service's begins with a letter and has no dots
     (Kubernetes 1.29), and a StatefulSet's is a label's value of its pods, with a hash behind it, so it has 52 characters
     at most with `-triton`. A name that is cut keeps apart from others by a hash of the whole. */}}
{{- define "jetserve.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := printf "%s-%s" .Release.Name $name -}}
{{- if .Values.fullnameOverride -}}
{{- $full = .Values.fullnameOverride -}}
{{- else if contains $name .Release.Name -}}
{{- $full = .Release.Name -}}
{{- end -}}
{{- $full = replace "." "-" $full -}}
{{- if regexMatch "^[0-9]" $full -}}
{{- $full = printf "%s-%s" .Chart.Name $full -}}
{{- end -}}
{{- if gt (len $full) 45 -}}
{{- $full = printf "%s-%s" (trunc 36 $full | trimSuffix "-") (sha256sum $full | trunc 8) -}}
{{- end -}}
{{- $full -}}
{{- end -}}

{{/* What tells this release's pods from all others; of one part with (dict "root" $ "part" "triton"). */}}
{{- define "jetserve.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .part }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end -}}

{{- define "jetserve.labels" -}}
{{ include "jetserve.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* The part whose pods answer on HTTP and gRPC: the pod of both where they are colocated. */}}
{{- define "jetserve.front" -}}
{{- ternary "server" "gateway" (eq .Values.layout "colocated") -}}
{{- end -}}

{{/* The part whose pods are Tritons. */}}
{{- define "jetserve.back" -}}
{{- ternary "server" "triton" (eq .Values.layout "colocated") -}}
{{- end -}}

{{/* One of the project's images, by (dict "root" $ "name" "jetserve/gateway"); "suffix" is for the tag. What has a digest
     has no tag. */}}
{{- define "jetserve.image" -}}
{{- with .root.Values.image.registry }}{{ trimSuffix "/" . }}/{{ end -}}
{{- .name -}}
{{- if not (contains "@" .name) }}:{{ default .root.Chart.AppVersion .root.Values.image.tag }}{{ .suffix }}{{ end -}}
{{- end -}}

{{- define "jetserve.serviceAccount" -}}
{{- default (include "jetserve.fullname" .) .Values.serviceAccount.existing -}}
{{- end -}}

{{- define "jetserve.claim" -}}
{{- default (printf "%s-models" (include "jetserve.fullname" .)) .Values.models.claim.existing -}}
{{- end -}}

{{/* By `job` the alerts know it; `namespace` (the operator sets it by itself, unless it is told otherwise) and `release` keep
     releases apart that one Prometheus watches. */}}
{{- define "jetserve.relabelings" -}}
- {targetLabel: job, replacement: jetserve-{{ .job }}}
- {targetLabel: namespace, replacement: {{ .root.Release.Namespace | quote }}}
- {targetLabel: release, replacement: {{ .root.Release.Name | quote }}}
{{- end -}}

{{/* What a schema cannot say. */}}
{{- define "jetserve.check" -}}
{{- $v := .Values -}}
{{- if and $v.gateway.autoscaling.enabled (eq $v.layout "colocated") (eq $v.triton.kind "DaemonSet") -}}
{{- fail "gateway.autoscaling: a DaemonSet has one pod a node, and cannot be scaled; set it to false, or triton.kind to StatefulSet" -}}
{{- end -}}
{{- if and $v.gateway.autoscaling.enabled (gt (int $v.gateway.autoscaling.minReplicas) (int $v.gateway.autoscaling.maxReplicas)) -}}
{{- fail "gateway.autoscaling: minReplicas is more than maxReplicas" -}}
{{- end -}}
{{- if eq (int $v.gateway.service.httpPort) (int $v.gateway.service.grpcPort) -}}
{{- fail "gateway.service: httpPort and grpcPort are the same; a Service has a port once" -}}
{{- end -}}
{{- if ne (empty $v.models.hostPath.artefacts) (empty $v.models.hostPath.work) -}}
{{- fail "models.hostPath: artefacts and work belong together; set both, or neither" -}}
{{- end -}}
{{- if and (eq $v.models.source "s3") (or (not $v.models.s3.url) $v.models.writable $v.sampleModel.enabled) -}}
{{- fail "models.source: s3 needs models.s3.url, and can be neither models.writable nor have a sampleModel: Triton only reads it" -}}
{{- end -}}
{{- if and $v.models.hostPath.artefacts (or (ne $v.models.source "hostPath") (not $v.models.writable)) -}}
{{- fail "models.hostPath.artefacts: engines are built into a folder of the node; set models.source to hostPath and models.writable to true" -}}
{{- end -}}
{{- if and $v.monitoring.prometheusRule.enabled (not $v.monitoring.prometheusRule.rules) -}}
{{- fail "monitoring.prometheusRule.rules is empty: give rules files with --set-file monitoring.prometheusRule.rules.NAME=FILE" -}}
{{- end -}}
{{- if and $v.ingress.enabled (not $v.ingress.host) -}}
{{- fail "ingress.host is empty: which name is it to answer to?" -}}
{{- end -}}
{{- if and $v.ingress.enabled $v.ingress.grpc.enabled (not $v.ingress.grpc.host) -}}
{{- fail "ingress.grpc.host is empty: gRPC needs a name of its own" -}}
{{- end -}}
{{- if and $v.gatewayApi.enabled (not $v.gatewayApi.parentRefs) -}}
{{- fail "gatewayApi.parentRefs is empty: which Gateway is it to be attached to?" -}}
{{- end -}}
{{- with $v.gatewayApi -}}
{{- if and .enabled .grpc.enabled (or (empty .hostnames) (empty .grpc.hostnames)) -}}
{{- fail "gatewayApi.grpc: a listener takes one kind of route for a name; give gatewayApi.hostnames and, others, gatewayApi.grpc.hostnames" -}}
{{- end -}}
{{- range .grpc.hostnames -}}
{{- if has . $v.gatewayApi.hostnames -}}
{{- fail (printf "gatewayApi.grpc.hostnames: %s is HTTP's; a listener takes one kind of route for a name" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
