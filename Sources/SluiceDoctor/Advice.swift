/// What to change where, in the words of whoever stands in between. `Deploy/proxies` has whole configurations.
public enum Advice: Sendable {
    case buffering, compression, idle, head, http10, cancel, address, cache, http2

    /// For those that are known to stand there; where nobody signed, for those that never sign.
    public func lines(_ hops: [Hop]) -> [String] {
        let known = hops.compactMap { hop in line(hop).map { "\(hop.name): \($0)" } }
        if !known.isEmpty { return known }
        let silent: [Hop] = [.nginx, .haproxy, .traefik, .alb]
        return silent.filter { !hops.contains($0) }.compactMap { hop in line(hop).map { "if it is \(hop.name): \($0)" }
        }
    }

    private func line(_ hop: Hop) -> String? {
        switch self {
        case .buffering: Self.buffering(hop)
        case .compression: Self.compression(hop)
        case .idle, .head: Self.idle(hop)
        case .http10: hop == .nginx ? #"proxy_http_version 1.1; proxy_set_header Connection "";"# : nil
        case .cancel: Self.cancel(hop)
        case .address: Self.address(hop)
        case .cache: Self.cache(hop)
        case .http2: Self.http2(hop)
        }
    }

    private static func buffering(_ hop: Hop) -> String? {
        switch hop {
        case .nginx: "proxy_buffering off; and no proxy_ignore_headers X-Accel-Buffering"
        case .caddy: "no response_buffers and no buffer_responses in reverse_proxy, no encode on this path"
        case .haproxy: "option http-no-delay, and no filter that waits for the body"
        case .traefik: "no buffering middleware; responseForwarding.flushInterval: -1 in the service"
        case .envoy: "no buffer filter on this route"
        case .apache: "flushpackets=on behind ProxyPass"
        case .h2o: "no compress: and no throttling on this path"
        case .varnish: "set beresp.do_stream = true; and return (pass) for this path"
        case .cloudFront, .alb, .googleLoadBalancer: nil
        case .cloudflare: "Response Buffering off for this zone, and no Worker that reads the body"
        case .fastly: "set beresp.do_stream = true; and return (pass) for this path"
        }
    }

    private static func compression(_ hop: Hop) -> String? {
        switch hop {
        case .nginx: "gzip off; in this location, or no text/event-stream in gzip_types"
        case .caddy: "keep encode away from this path, or name its types in `match`: without text/event-stream"
        case .haproxy: "no text/event-stream in compression type"
        case .traefik: "excludedContentTypes: [text/event-stream] in the compress middleware"
        case .envoy: "no text/event-stream in the compressor's content_type"
        case .apache: "SetEnv no-gzip 1 for this path"
        case .h2o: "compress: OFF for this path"
        case .varnish: "set beresp.do_gzip = false; for this path"
        case .cloudFront: "Compress: false in this cache behaviour"
        case .cloudflare: "a compression rule that disables it for this path; it heeds Cache-Control: no-transform"
        case .fastly: "set beresp.gzip = false; for this path"
        case .alb, .googleLoadBalancer: nil
        }
    }

    private static func idle(_ hop: Hop) -> String? {
        switch hop {
        case .nginx: "proxy_read_timeout 1h; (60s where nothing is said)"
        case .caddy: "no read_timeout or response_header_timeout in transport http, no write timeout in servers"
        case .haproxy: "timeout server 1h and timeout client 1h"
        case .traefik:
            "respondingTimeouts.readTimeout: 0 and writeTimeout: 0 of the entry point, responseHeaderTimeout: 0s"
        case .envoy: "timeout: 0s of the route (15s where nothing is said), stream_idle_timeout: 3600s"
        case .apache: "ProxyTimeout 3600"
        case .h2o: "proxy.timeout.io: 3600000 (30s where nothing is said)"
        case .varnish: "first_byte_timeout and between_bytes_timeout of the backend (60s where nothing is said)"
        case .alb: "idle_timeout.timeout_seconds=4000 (60 where nothing is said)"
        case .cloudFront:
            "OriginReadTimeout of the origin (30 s where nothing is said); above 60 s it takes a quota increase"
        case .cloudflare: "its limit is fixed for most plans: keepalives must be shorter"
        case .googleLoadBalancer:
            "timeoutSec of the backend service, which bounds the whole answer (30 s where nothing is said)"
        case .fastly:
            "first_byte_timeout and between_bytes_timeout of the backend (15 s and 10 s where nothing is said)"
        }
    }

    private static func cancel(_ hop: Hop) -> String? {
        switch hop {
        case .nginx: "proxy_ignore_client_abort off; and no proxy_cache or proxy_store here"
        case .haproxy: "option abortonclose"
        case .varnish: "return (pipe) for this path"
        case .caddy: "no flush_interval -1: with it a request goes on when its client has left"
        default: nil
        }
    }

    private static func address(_ hop: Hop) -> String? {
        switch hop {
        case .nginx: "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
        case .haproxy: "option forwardfor"
        default: nil
        }
    }

    private static func cache(_ hop: Hop) -> String? {
        switch hop {
        case .nginx: "proxy_cache off;"
        case .varnish, .fastly: "return (pass) for this path"
        case .cloudFront: "the managed policy CachingDisabled"
        case .cloudflare: "a cache rule that bypasses this path"
        default: nil
        }
    }

    private static func http2(_ hop: Hop) -> String? {
        switch hop {
        case .nginx: "listen 443 ssl http2; (from 1.25.1 on: http2 on;)"
        case .haproxy: "alpn h2,http/1.1 on the bind line"
        case .alb: "routing.http2.enabled=true"
        case .apache: "Protocols h2 http/1.1"
        default: nil
        }
    }
}
