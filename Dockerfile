# syntax=docker/dockerfile:1
FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
# The caches keep the compiled dependencies from build to build; the program leaves them within the same step.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --release --package llm-gateway && \
    cp target/release/llm-gateway /usr/local/bin/llm-gateway

# No shell and no package manager, and not root.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /usr/local/bin/llm-gateway /usr/local/bin/llm-gateway
# Of the word lists and the embedding that are part of the program.
COPY LICENSE crates/cache-data/licences /usr/share/doc/llm-gateway/
# A container's loopback address cannot be reached from outside. The program therefore asks for keys,
# or for GATEWAY_ALLOW_ANONYMOUS=true where whoever publishes the port lets nobody else in.
ENV HOST=0.0.0.0 PORT=8000
EXPOSE 8000
# The image has nothing to ask the program with; orchestrators ask GET /health/live and /health/ready.
HEALTHCHECK NONE
ENTRYPOINT ["/usr/local/bin/llm-gateway"]
CMD ["serve"]
