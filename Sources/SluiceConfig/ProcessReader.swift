import SluiceBytes

extension ConfigurationReader {
    /// `url`: the upstream's; nil if it has a fault of its own.
    func readProcess(_ section: inout Section, _ url: UpstreamURL?) -> ProcessSpec? {
        var command: [String] = []
        if let items = section.list("command") {
            command = items.compactMap { node, path in
                Scalars.text(node, path, context).flatMap { checkText($0, node, path) ? $0 : nil }
            }
            if items.isEmpty || command.first == "" {
                context.report(section.node, section.path(of: "command"), "must begin with a program")
            }
        } else if section.value("command") == nil {
            section.missing("command")
        }
        var process = ProcessSpec(command: command)
        process.directory = section.string("directory").map(context.absolute)
        if let variables = section.section("environment") { process.environment = readVariables(variables) }
        if var ready = section.section("ready") { process.ready = readReady(&ready) }
        process.restart = section.choice("restart", ProcessSpec.Restart.self) ?? process.restart
        process.backoff = section.duration("backoff") ?? process.backoff
        process.maxBackoff = section.duration("max_backoff") ?? max(process.maxBackoff, process.backoff)
        process.stopSignal = section.choice("stop_signal", ProcessSpec.StopSignal.self) ?? process.stopSignal
        process.stopTimeout = section.duration("stop_timeout") ?? process.stopTimeout
        process.wait = section.duration("wait") ?? process.wait
        process.output = section.choice("output", ProcessSpec.Output.self) ?? process.output
        if process.maxBackoff < process.backoff {
            context.report(section.node, section.path(of: "max_backoff"), "must not be below backoff")
        }
        if let url { check(url, section) }
        section.finish()
        return command.isEmpty ? nil : process
    }

    /// A process that somebody else could reach, or that listens elsewhere, would not be this upstream.
    private func check(_ url: UpstreamURL, _ section: Section) {
        if !url.isLocal {
            context.report(
                section.node, section.path, "a process is this machine's own: url must be loopback or a unix socket")
        } else if url.isTLS {
            context.report(section.node, section.path, "a process is asked in the clear: url must be http:// or unix:")
        }
    }

    private func readReady(_ section: inout Section) -> ProcessSpec.Ready {
        var ready = ProcessSpec.Ready()
        if let path = section.string("path"), let node = section.value("path") {
            if path.hasPrefix("/"), path.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "#") }) {
                ready.path = path
            } else {
                context.report(node, section.path(of: "path"), "'\(path)' is not a path such as /health")
            }
        }
        ready.timeout = section.duration("timeout") ?? ready.timeout
        ready.interval = section.duration("interval") ?? ready.interval
        if ready.interval < .milliseconds(10) {
            context.report(section.node, section.path(of: "interval"), "must be at least 10ms")
        }
        section.finish()
        return ready
    }

    private func readVariables(_ section: Section) -> [ProcessSpec.Variable] {
        section.entries.compactMap { name, keyNode, value in
            let path = section.path(of: name)
            if name.isEmpty || name.utf8.contains(UInt8(ascii: "=")) || name.utf8.contains(0) {
                context.report(keyNode, path, "'\(name)' is no name of a variable")
                return nil
            }
            guard let secret = Scalars.secret(value, path, context), checkText(secret.revealed, value, path) else {
                return nil
            }
            var isSecret = Self.soundsSecret(name)
            if case .mapping = value.kind { isSecret = true }
            return ProcessSpec.Variable(name: name, value: secret, isSecret: isSecret)
        }
    }

    private static func soundsSecret(_ name: String) -> Bool {
        let words = name.uppercased().split { !$0.isLetter }
        return words.contains { word in
            ["KEY", "APIKEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIALS", "AUTH"].contains { word == $0 }
        }
    }

    /// Arguments and variables end at a zero byte.
    private func checkText(_ text: String, _ node: YAMLNode, _ path: String) -> Bool {
        guard text.utf8.contains(0) else { return true }
        context.report(node, path, "must not hold a zero byte")
        return false
    }

    /// Upstreams at the same place share a process, which can only be one.
    func checkProcesses(_ specs: [UpstreamSpec], _ section: Section) {
        var seen: [String: UpstreamSpec] = [:]
        for spec in specs where spec.process != nil {
            guard let first = seen.updateValue(spec, forKey: spec.url.processAddress) else { continue }
            if first.process != spec.process, let entry = section.entries.first(where: { $0.key == spec.name }) {
                context.report(
                    entry.value, section.path(of: "\(spec.name).process"),
                    "is not the same as that of \(first.name), which has the same url")
            }
        }
    }
}
