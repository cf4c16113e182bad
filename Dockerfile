# Builds a static binary and puts it, alone, into an empty image. It is built twice: deploy/build.
FROM rust:1.95-alpine AS build
RUN apk add --no-cache build-base cmake perl python3
WORKDIR /src
COPY . .
# otlp: with traces
ARG FEATURES=""
RUN deploy/build --features "$FEATURES" > /built && mkdir -p /out/var/lib/capi-relay /out/etc/capi-relay \
 && cp "$(cat /built)" /out/capi-relay

FROM scratch
COPY --from=build --chown=65532:65532 /out /
USER 65532:65532
VOLUME /var/lib/capi-relay
EXPOSE 8443
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s CMD ["/capi-relay", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/capi-relay"]
CMD ["serve"]
