# One image with both programs: `shiori-server` (the default) and `shiori-worker`.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --locked --release -p shiori-server -p shiori-worker \
    && cp target/release/shiori-server target/release/shiori-worker /usr/local/bin/

FROM debian:bookworm-slim
# Root certificates, for HTTPS requests to models.
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/*
COPY --from=build /usr/local/bin/shiori-server /usr/local/bin/shiori-worker /usr/local/bin/
# The data directory of the embedded profile.
RUN install -d -o 65534 -g 65534 -m 700 /var/lib/shiori
WORKDIR /var/lib/shiori
VOLUME /var/lib/shiori
USER 65534:65534
ENV SHIORI_LISTEN=0.0.0.0:8080 SHIORI_DATA_DIR=/var/lib/shiori
EXPOSE 8080
CMD ["shiori-server"]
