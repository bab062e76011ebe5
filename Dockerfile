# syntax=docker/dockerfile:1
# Tidegate as a small image: the binary, CA certificates, no shell use needed, not root.
#   docker build -t tidegate .
#   docker run -v ./resources:/etc/tidegate/resources -e TIDEGATE__KAFKA__BROKERS=kafka:9092 tidegate

FROM rust:1-bookworm AS build
WORKDIR /src
COPY . .
# The caches outlive a build, so that a change in src does not compile librdkafka and OpenSSL again.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin tidegate \
    && install -D target/release/tidegate /out/tidegate

FROM debian:bookworm-slim
LABEL org.opencontainers.image.title="Tidegate" \
      org.opencontainers.image.description="Gets events out of Kafka and into other people's APIs" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/tidegate /usr/local/bin/tidegate
# A number, so that Kubernetes can see that it is not root.
USER 65532:65532
# Inside a container the loopback address is nobody's: the admin address must be reachable to be probed.
ENV TIDEGATE__ADMIN__LISTEN=0.0.0.0:7070
EXPOSE 7070
STOPSIGNAL SIGTERM
ENTRYPOINT ["tidegate"]
CMD ["run", "-r", "/etc/tidegate/resources"]
