import SluiceBytes

/// The keys of an upstream that say where it is found and how requests are spread.
extension ConfigurationReader {
    /// `url` or `urls`; empty if there is none that can be read, which is reported.
    func readPlaces(_ section: inout Section) -> [PlaceSpec] {
        let single = section.value("url")
        guard let node = section.value("urls") else {
            guard let single else {
                section.missing("url")
                return []
            }
            return readURL(single, section.path(of: "url")).map { [PlaceSpec($0)] } ?? []
        }
        if single != nil { context.report(node, section.path(of: "urls"), "give url or urls, not both") }
        guard let items = section.list("urls") else { return [] }
        if items.isEmpty { context.report(node, section.path(of: "urls"), "must name at least one URL") }
        if items.count > PlaceSpec.limit {
            context.report(node, section.path(of: "urls"), "must not name more than \(PlaceSpec.limit) URLs")
        }
        var places: [PlaceSpec] = []
        for (node, path) in items {
            guard let place = readPlace(node, path) else { continue }
            if places.contains(where: { $0.url == place.url }) {
                context.report(node, path, "this URL stands here twice: give it a weight")
            }
            if let first = places.first, first.url.isTLS != place.url.isTLS {
                context.report(node, path, "all URLs of an upstream must be https, or none")
            }
            places.append(place)
        }
        return places
    }

    /// A URL, or `{url: …, weight: 3}`.
    private func readPlace(_ node: YAMLNode, _ path: String) -> PlaceSpec? {
        guard case .mapping = node.kind else { return readURL(node, path).map { PlaceSpec($0) } }
        guard var section = Section(node, path: path, context: context) else { return nil }
        let url = section.value("url")
        if url == nil { section.missing("url") }
        let weight = section.integer("weight", PlaceSpec.weights) ?? 1
        section.finish()
        return url.flatMap { readURL($0, section.path(of: "url")) }.map { PlaceSpec($0, weight: weight) }
    }

    private func readURL(_ node: YAMLNode, _ path: String) -> UpstreamURL? {
        guard let text = Scalars.text(node, path, context) else { return nil }
        if let url = UpstreamURL(text) { return url }
        context.report(
            node, path, "'\(text)' is not http(s)://host[:port][/path] without user, query and fragment, or unix:/path")
        return nil
    }

    func readBalance(_ section: inout Section, _ spec: inout UpstreamSpec) {
        spec.balance = section.choice("balance", Balance.self) ?? spec.balance
        spec.slowStart = section.duration("slow_start") ?? spec.slowStart
        spec.maxConnectionAge = section.duration("max_connection_age") ?? spec.maxConnectionAge
        if var check = section.section("health_check") { spec.healthCheck = readHealthCheck(&check) }
        if var outlier = section.section("outlier") { spec.outlier = readOutlier(&outlier) }
        if spec.places.count > 1, let aws = spec.aws, aws.region == nil {
            context.report(
                section.node, section.path(of: "aws.region"),
                "is required where there are several URLs: all are signed for one region")
        }
    }

    private func readHealthCheck(_ section: inout Section) -> HealthCheckSpec? {
        let path = section.requiredString("path")
        if let path, let node = section.value("path"), !Self.isTarget(path) {
            context.report(node, section.path(of: "path"), "'\(path)' is not /path[?query]")
        }
        var check = HealthCheckSpec(path: path ?? "/")
        check.interval = positive("interval", &section) ?? check.interval
        check.timeout = positive("timeout", &section) ?? check.timeout
        check.unhealthyAfter = section.integer("unhealthy_after", 1...100) ?? check.unhealthyAfter
        check.healthyAfter = section.integer("healthy_after", 1...100) ?? check.healthyAfter
        if let text = section.string("expect"), let node = section.value("expect") {
            if let statuses = Self.statuses(text) {
                check.expect = statuses
            } else {
                context.report(node, section.path(of: "expect"), "'\(text)' is not a status or a range such as 200-299")
            }
        }
        section.finish()
        return check
    }

    private func readOutlier(_ section: inout Section) -> OutlierSpec {
        var outlier = OutlierSpec()
        outlier.consecutiveFailures = section.integer("consecutive_failures", 0...10_000) ?? outlier.consecutiveFailures
        outlier.ejection = positive("ejection", &section) ?? outlier.ejection
        outlier.maxEjection = positive("max_ejection", &section) ?? max(outlier.maxEjection, outlier.ejection)
        if outlier.maxEjection < outlier.ejection, let node = section.value("max_ejection") {
            context.report(node, section.path(of: "max_ejection"), "must not be shorter than ejection")
        }
        outlier.maxEjectedPercent = section.integer("max_ejected_percent", 0...100) ?? outlier.maxEjectedPercent
        section.finish()
        return outlier
    }

    private func positive(_ key: String, _ section: inout Section) -> Interval? {
        guard let duration = section.duration(key) else { return nil }
        if duration == .zero, let node = section.value(key) {
            context.report(node, section.path(of: key), "must be longer than 0")
        }
        return duration
    }

    /// Goes on the request line as it is.
    private static func isTarget(_ text: String) -> Bool {
        text.utf8.first == UInt8(ascii: "/") && text.utf8.count <= 1024
            && text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "#") }
    }

    /// `200-299` or `204`.
    private static func statuses(_ text: String) -> ClosedRange<Int>? {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
        guard parts.count <= 2, let first = parts.first ?? nil, let last = parts.last ?? nil, first <= last,
            first >= 100, last <= 599
        else { return nil }
        return first...last
    }
}
