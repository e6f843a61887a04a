{{/* What every pod of the release has; (dict "root" $ "part" .Values.triton "groups" list). */}}
{{- define "jetserve.pod" -}}
serviceAccountName: {{ include "jetserve.serviceAccount" .root | quote }}
automountServiceAccountToken: false
# Kubernetes would set GATEWAY_… variables by itself where a release is called `gateway`.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  {{- with .groups }}
  supplementalGroups: {{ toYaml . | nindent 4 }}
  {{- end }}
  seccompProfile:
    type: RuntimeDefault
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .part }}
{{- with .nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Replicas on as many nodes as there are, as far as there are. */}}
{{- define "jetserve.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{ include "jetserve.selector" . | nindent 8 }}
{{- end -}}

{{- define "jetserve.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* A number of a values file is a float to Helm, which writes large ones as 2.097152e+07. */}}
{{- define "jetserve.plain" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) -}}{{ int64 . }}{{- else -}}{{ . }}{{- end -}}
{{- end -}}

{{/* Seconds that a pod with a gateway has to end: draining, then requests in work over HTTP, then over gRPC. */}}
{{- define "jetserve.gatewayGrace" -}}
{{- $deadline := default 10 .Values.gateway.settings.deadline_s -}}
{{- add .Values.gateway.drainSeconds (mul 2 (ceil $deadline)) 10 -}}
{{- end -}}

{{- define "jetserve.gatewayContainer" -}}
{{- $colocated := eq .Values.layout "colocated" -}}
- name: gateway
  image: {{ include "jetserve.image" (dict "root" . "name" .Values.gateway.image) }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  env:
    - {name: GATEWAY_HOST, value: "0.0.0.0"}
    - {name: GATEWAY_PORT, value: "8080"}
    - {name: GATEWAY_GRPC_PORT, value: "8081"}
    {{- if $colocated }}
    - {name: GATEWAY_TRITON, value: "127.0.0.1:8001"}
    - {name: GATEWAY_SHARED_MEMORY, value: auto}
    {{- else }}
    # Each address that the name has is a replica; the gateway looks it up again and again.
    - {name: GATEWAY_TRITON, value: "dns:///{{ include "jetserve.fullname" . }}-triton:8001"}
    - {name: GATEWAY_SHARED_MEMORY, value: "off"}
    {{- end }}
    - {name: GATEWAY_DRAIN_S, value: {{ include "jetserve.plain" .Values.gateway.drainSeconds | quote }}}
    {{- range $name, $value := .Values.gateway.settings }}
    - {name: GATEWAY_{{ upper $name }}, value: {{ include "jetserve.plain" $value | quote }}}
    {{- end }}
    {{- with .Values.gateway.env }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  ports:
    - {name: http, containerPort: 8080}
    - {name: grpc, containerPort: 8081}
  startupProbe:
    httpGet: {path: /health/live, port: http}
    periodSeconds: 1
    failureThreshold: 60
  livenessProbe:
    httpGet: {path: /health/live, port: http}
    periodSeconds: 10
    timeoutSeconds: 5
    failureThreshold: 6
  readinessProbe:
    httpGet: {path: /health/ready, port: http}
    periodSeconds: 2
    timeoutSeconds: 3
    failureThreshold: 2
  resources: {{ toYaml .Values.gateway.resources | nindent 4 }}
  securityContext: {{ include "jetserve.containerSecurity" . | nindent 4 }}
  volumeMounts:
    - {name: gateway-tmp, mountPath: /tmp}
    {{- if $colocated }}
    - {name: shared-memory, mountPath: /dev/shm}
    {{- end }}
    {{- include "jetserve.hostFileMounts" .Values.gateway | nindent 4 }}
{{- end -}}

{{- define "jetserve.tritonContainer" -}}
- name: triton
  {{- if .Values.triton.imageOverride }}
  image: {{ .Values.triton.imageOverride | quote }}
  {{- else }}
  image: {{ include "jetserve.image" (dict "root" . "name" .Values.triton.image "suffix" .Values.triton.tagSuffix) }}
  {{- end }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  {{- with .Values.triton.command }}
  command: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- if eq .Values.models.source "s3" }}
  {{- /* The entry point's own --model-repository is one of several then, and the last one counts. */}}
  args:
    - {{ printf "--model-repository=%s" .Values.models.s3.url | quote }}
    {{- toYaml (default (list "--load=*") .Values.triton.args) | nindent 4 }}
  {{- else }}
  {{- with .Values.triton.args }}
  args: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
  {{- if or .Values.triton.env (eq .Values.models.source "s3") }}
  env:
    {{- if eq .Values.models.source "s3" }}
    - {name: AWS_DEFAULT_REGION, value: {{ .Values.models.s3.region | quote }}}
    {{- with .Values.models.s3.secret }}
    - name: AWS_ACCESS_KEY_ID
      valueFrom: {secretKeyRef: {name: {{ . | quote }}, key: AWS_ACCESS_KEY_ID}}
    - name: AWS_SECRET_ACCESS_KEY
      valueFrom: {secretKeyRef: {name: {{ . | quote }}, key: AWS_SECRET_ACCESS_KEY}}
    {{- end }}
    {{- end }}
    {{- with .Values.triton.env }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- end }}
  ports:
    - {name: triton-http, containerPort: 8000}
    - {name: triton-grpc, containerPort: 8001}
    - {name: triton-metrics, containerPort: 8002}
  # Live, not ready: Triton is not ready as soon as one of its models is not, and would be taken from the others' users.
  # It answers when it has loaded what there is; which models are ready, each gateway asks by itself.
  startupProbe:
    httpGet: {path: /v2/health/live, port: triton-http}
    periodSeconds: {{ .Values.triton.startup.periodSeconds }}
    failureThreshold: {{ .Values.triton.startup.failureThreshold }}
  livenessProbe:
    httpGet: {path: /v2/health/live, port: triton-http}
    periodSeconds: 10
    timeoutSeconds: 5
    failureThreshold: 6
  readinessProbe:
    httpGet: {path: /v2/health/live, port: triton-http}
    periodSeconds: 2
    timeoutSeconds: 3
    failureThreshold: 2
  lifecycle:
    preStop:
      exec:
        command: [sleep, {{ include "jetserve.tritonDrain" . | quote }}]
  resources: {{ include "jetserve.tritonResources" . | nindent 4 }}
  securityContext: {{ include "jetserve.containerSecurity" . | nindent 4 }}
  volumeMounts:
    - {name: triton-tmp, mountPath: /tmp}
    - {name: shared-memory, mountPath: /dev/shm}
    {{- if ne .Values.models.source "s3" }}
    - {name: models, mountPath: /models, readOnly: {{ not .Values.models.writable }}}
    {{- end }}
    {{- if .Values.models.hostPath.artefacts }}
    - {name: artefacts, mountPath: /artefacts, readOnly: true}
    - {name: work, mountPath: /work}
    {{- end }}
    {{- include "jetserve.hostFileMounts" .Values.triton | nindent 4 }}
{{- end -}}

{{/* A colocated Triton ends after its gateway has: both are told at once. */}}
{{- define "jetserve.tritonDrain" -}}
{{- if eq .Values.layout "colocated" -}}
{{- include "jetserve.gatewayGrace" . -}}
{{- else -}}
{{- .Values.triton.drainSeconds -}}
{{- end -}}
{{- end -}}

{{- define "jetserve.tritonResources" -}}
{{- $resources := deepCopy .Values.triton.resources -}}
{{- if gt (int .Values.triton.gpus) 0 -}}
{{- $limits := default dict $resources.limits -}}
{{- $_ := set $limits "nvidia.com/gpu" (int .Values.triton.gpus) -}}
{{- $_ := set $resources "limits" $limits -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}

{{- define "jetserve.sampleContainer" -}}
- name: sample-model
  image: {{ include "jetserve.image" (dict "root" . "name" .Values.sampleModel.image) }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  command: [sh, -c]
  args:
    - >-
      test -e /models/balloon/config.pbtxt ||
      exec python -m builder import recipes/balloon-rtmdet/sdk --name balloon --score-threshold 0.3 --repository /models
  resources: {{ toYaml .Values.sampleModel.resources | nindent 4 }}
  securityContext: {{ include "jetserve.containerSecurity" . | nindent 4 }}
  volumeMounts:
    - {name: triton-tmp, mountPath: /tmp}
    - {name: models, mountPath: /models}
{{- end -}}

{{- define "jetserve.hostFileMounts" -}}
{{- range .hostFiles }}
- {name: {{ include "jetserve.hostFile" . }}, mountPath: {{ . | quote }}, readOnly: true}
{{- end }}
{{- end -}}

{{- define "jetserve.hostFileVolumes" -}}
{{- range . }}
- name: {{ include "jetserve.hostFile" . }}
  hostPath: {path: {{ . | quote }}, type: File}
{{- end }}
{{- end -}}

{{/* A volume's name of a path: no two paths have the same, and any path has one. */}}
{{- define "jetserve.hostFile" -}}
host-{{ sha256sum . | trunc 12 -}}
{{- end -}}

{{- define "jetserve.tritonVolumes" -}}
{{- $files := .Values.triton.hostFiles -}}
{{- if eq .Values.layout "colocated" -}}
{{- $files = uniq (concat $files .Values.gateway.hostFiles) -}}
{{- end -}}
- name: triton-tmp
  {{- /* From a store Triton copies what it loads to its /tmp. */}}
  emptyDir: {sizeLimit: {{ ternary .Values.models.s3.size "1Gi" (eq .Values.models.source "s3") }}}
{{- if eq .Values.layout "colocated" }}
- name: gateway-tmp
  emptyDir: {sizeLimit: 1Gi}
{{- end }}
- name: shared-memory
  emptyDir: {medium: Memory, sizeLimit: {{ .Values.sharedMemory.sizeLimit }}}
{{- if eq .Values.models.source "claim" }}
- name: models
  persistentVolumeClaim: {claimName: {{ include "jetserve.claim" . | quote }}}
{{- else if eq .Values.models.source "hostPath" }}
- name: models
  hostPath: {path: {{ .Values.models.hostPath.repository | quote }}, type: Directory}
{{- end }}
{{- if .Values.models.hostPath.artefacts }}
- name: artefacts
  hostPath: {path: {{ .Values.models.hostPath.artefacts | quote }}, type: Directory}
- name: work
  hostPath: {path: {{ .Values.models.hostPath.work | quote }}, type: Directory}
{{- end }}
{{- include "jetserve.hostFileVolumes" $files }}
{{- end -}}
