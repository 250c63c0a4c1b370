import SluiceConfig

extension UpstreamURL {
    /// For `Host`: the port only where it is not the scheme's own.
    var authority: String {
        if unixPath != nil { return "localhost" }
        let name = host.contains(":") ? "[\(host)]" : host
        return port == (isTLS ? 443 : 80) ? name : "\(name):\(port)"
    }
}
