import SluiceStreams

/// What may stand between, recognised by what it writes into heads.
public enum Hop: String, CaseIterable, Sendable {
    case nginx, caddy, haproxy, traefik, envoy, apache, h2o, varnish, alb, cloudFront, cloudflare, googleLoadBalancer,
        fastly

    public var name: String {
        switch self {
        case .nginx: "nginx"
        case .caddy: "Caddy"
        case .haproxy: "HAProxy"
        case .traefik: "Traefik"
        case .envoy: "Envoy"
        case .apache: "Apache httpd"
        case .h2o: "h2o"
        case .varnish: "Varnish"
        case .alb: "AWS load balancer"
        case .cloudFront: "CloudFront"
        case .cloudflare: "Cloudflare"
        case .googleLoadBalancer: "Google Cloud load balancer"
        case .fastly: "Fastly"
        }
    }

    /// All that heads of answers, or of the request as it arrived, give away. Most hide, so this may be empty though some are there.
    public static func recognise(_ observations: [Observation]) -> [Hop] {
        allCases.filter { hop in observations.contains { hop.hasSigned($0) } }
    }

    private func hasSigned(_ seen: Observation) -> Bool {
        let server = seen.field("server")?.lowercased() ?? ""
        let via = ((seen.field("via") ?? "") + "," + (seen.arrivedField("via") ?? "")).lowercased()
        switch self {
        case .nginx: return server.hasPrefix("nginx") || server.hasPrefix("openresty")
        case .caddy: return server.hasPrefix("caddy") || via.containsWord("caddy")
        case .haproxy: return server.hasPrefix("haproxy") || via.containsWord("haproxy")
        case .traefik: return seen.arrivedField("x-forwarded-server") != nil && server.isEmpty
        case .envoy: return server.hasPrefix("envoy") || seen.field("x-envoy-upstream-service-time") != nil
        case .apache: return server.hasPrefix("apache") || via.containsWord("apache")
        case .h2o: return server.hasPrefix("h2o")
        case .varnish: return seen.field("x-varnish") != nil || via.containsWord("varnish")
        case .alb: return server.hasPrefix("awselb") || seen.arrivedField("x-amzn-trace-id") != nil
        case .cloudFront: return seen.field("x-amz-cf-id") != nil || seen.arrivedField("x-amz-cf-id") != nil
        case .cloudflare:
            return server == "cloudflare" || seen.field("cf-ray") != nil || seen.arrivedField("cf-ray") != nil
        case .googleLoadBalancer: return via.containsWord("google")
        case .fastly: return seen.field("x-served-by")?.hasPrefix("cache-") == true
        }
    }
}

extension String {
    /// `1.1 varnish (Varnish/6.0)` has the word `varnish`.
    fileprivate func containsWord(_ word: String) -> Bool {
        split { !$0.isLetter && !$0.isNumber }.contains { $0 == word }
    }
}
