#!/bin/sh
# Builds the images lbd, bbagent, bbctl and web from this checkout: make images. The README here lists its settings.
set -eu
cd "$(dirname "$0")/.."
version=${VERSION:-$(packaging/version)}
# The time in the images is that of the commit, so that the same commit gives the same files.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH
label=org.opencontainers.image
tag=$(echo "$version" | tr '+~' '--')
for image in ${IMAGES:-lbd bbagent bbctl web}; do
	name=${PREFIX:-bazbeans/}$image
	docker build --quiet --file docker/Dockerfile --target "$image" \
		--build-arg BUILD_IMAGE="${BUILD_IMAGE:-golang:1.26}" \
		--build-arg NGINX_IMAGE="${NGINX_IMAGE:-nginx:1.28}" \
		--build-arg BINARIES="${BINARIES:-source}" \
		--build-arg VERSION="$version" \
		--build-arg SOURCE_DATE_EPOCH="$SOURCE_DATE_EPOCH" \
		--label "$label.source=https://github.com/bazbeans/bazbeans" \
		--label "$label.version=$version" \
		--label "$label.revision=$(git rev-parse HEAD 2>/dev/null || true)" \
		--label "$label.created=$(date --utc --date="@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)" \
		--tag "$name:$tag" --tag "$name:latest" "$@" . >/dev/null
	docker image ls --format '{{.Repository}}:{{.Tag}}  {{.Size}}' "$name:$tag"
done
