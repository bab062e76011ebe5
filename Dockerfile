# syntax=docker/dockerfile:1
# Tidegate as a small image: the binary, the libraries it needs, CA certificates; no shell, no package manager, not root.
#   docker build -t tidegate --build-arg COMMIT=$(git rev-parse --short HEAD) .
#   docker run -v ./resources:/etc/tidegate/resources -e TIDEGATE__KAFKA__BROKERS=kafka:9092 tidegate

FROM rust:1-bookworm AS build
WORKDIR /src
COPY . .
ARG COMMIT=
# The caches outlive a build, so that a change in src does not compile librdkafka and OpenSSL again. The base image below
# has the libraries of C and of the compiler, but no zlib: it goes along if the binary asks for it.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    TIDEGATE_COMMIT="$COMMIT" TIDEGATE_RUSTC="$(rustc --version)" cargo build --release --locked --bin tidegate \
    && install -D target/release/tidegate /out/bin/tidegate \
    && mkdir -p /out/lib \
    && ldd target/release/tidegate | awk '$1 == "libz.so.1" {print $3}' | xargs -r -I{} cp -L {} /out/lib/

FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="Tidegate" \
      org.opencontainers.image.description="Gets events out of Kafka and into other people's APIs" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out/lib/ /usr/lib/
COPY --from=build /out/bin/tidegate /usr/local/bin/tidegate
# A number, so that Kubernetes can see that it is not root.
USER 65532:65532
# Inside a container the loopback address is nobody's: the admin address must be reachable to be probed.
ENV TIDEGATE__ADMIN__LISTEN=0.0.0.0:7070
EXPOSE 7070
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["tidegate", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["tidegate"]
CMD ["run", "-r", "/etc/tidegate/resources"]
