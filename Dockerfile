# All five services and the command line tool in one image; docker-compose.yml picks the program.
#   docker build --build-arg BASE=... .     BASE: any Debian 12 or 13 with apt (default: the slim image)
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS build
WORKDIR /src
COPY tools/deps tools/deps
RUN bash tools/deps/install.sh build && rm -rf /var/lib/apt/lists/*
COPY . .
RUN make -j"$(nproc)" release && strip build/release/bin/* \
    && containers/runtime-packages.sh build/release/bin/* > /runtime-packages

FROM ${BASE}
COPY --from=build /runtime-packages /runtime-packages
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        $(cat /runtime-packages) curl \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /runtime-packages \
    && useradd --system --uid 10001 --no-create-home riacho \
    && install -d -o riacho -g riacho /var/lib/riacho
COPY --from=build /src/build/release/bin/ /usr/local/bin/
COPY containers/entry.sh /usr/local/bin/riacho-entry
USER riacho
VOLUME /var/lib/riacho
ENTRYPOINT ["riacho-entry"]
