import SluiceIO

/// Until when a listener's certificate can be shown to clients.
struct CertificateStatus: Sendable {
    /// As the configuration names them: the address, and the file.
    let listener: String
    let file: String
    /// Seconds since 1970.
    let notAfter: Int
}

extension ServerSnapshot {
    /// One for each listener and file, as they were when the configuration was read.
    var certificates: [CertificateStatus] {
        var found: [CertificateStatus] = []
        for (listener, context) in zip(configuration.listeners, serverTLS) {
            for certificate in context?.certificates ?? []
            where !found.contains(where: { $0.listener == listener.address && $0.file == certificate.path }) {
                found.append(
                    CertificateStatus(
                        listener: listener.address, file: certificate.path, notAfter: certificate.notAfter))
            }
        }
        return found
    }
}

extension MetricsExposition {
    static func appendCertificates(_ certificates: [CertificateStatus], _ out: inout MetricsText) {
        out.family(
            "sluice_certificate_not_after_timestamp_seconds", .gauge,
            "Unix time at which a listener's certificate expires, as it was when the configuration was read.")
        for certificate in certificates {
            out.sample(
                [(name: "listener", value: certificate.listener), (name: "file", value: certificate.file)],
                certificate.notAfter)
        }
    }
}
