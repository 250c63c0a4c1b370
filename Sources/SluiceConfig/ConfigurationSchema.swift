import SluiceBytes
import SluiceStreams

/// The JSON Schema (draft 2020-12) of configuration files, for editors: each key that the readers know is one line here, and a
/// test compares the two.
public enum ConfigurationSchema {
    private typealias Key = SchemaBuilder.Key
    private typealias Build = SchemaBuilder

    public static func document() -> JSONValue {
        var members: [(key: String, value: JSONValue)] = [
            (key: "$schema", value: "https://json-schema.org/draft/2020-12/schema"),
            (key: "title", value: "Configuration of Sluice"),
        ]
        members += Build.mapping(root + AccessSchema.root + [CompressionSchema.own, ProbeSchema.own]).members ?? []
        members.append((key: "$defs", value: Build.definitions))
        return .object(members)
    }

    /// Indented, and with a line end.
    public static func text() -> String {
        var out = ByteQueue()
        Build.format(document(), into: &out)
        out.append("\n")
        return out.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
    }

    private static let root = [
        Key(
            "listeners", Build.list(of: Build.mapping(listener), minimum: 1), "Where clients connect.", isRequired: true
        ),
        Key("workers", Build.number(1...1024, or: "auto"), "Event loops; auto is one a core."),
        Key("drain_timeout", Build.duration, "How long live streams may go on after SIGTERM."),
        Key(
            "drain_delay", Build.duration,
            "How long clients are still accepted after SIGTERM, while /readyz says 503 already."),
        Key("log", Build.mapping(log), "What is logged, and how."),
        Key("admin", Build.mapping(admin), "Metrics, health and control, on a listener of their own; off without it."),
        Key("errors", Build.mapping(errors), "What errors tell clients."),
        Key("resolver", Build.mapping(resolver), "Who is asked for the addresses of names."),
        Key(
            "redis", Build.mapping(redis), "Where routes with resume.store: redis keep answers; shared by all replicas."
        ),
        TracingSchema.own,
        Key("limits", Build.mapping(limits), "Every bound. An error or log line that comes of one repeats its name."),
        Key("dialects", Build.names(of: Build.mapping(dialect)), "Providers that nobody knows, by name."),
        Key("upstreams", Build.names(of: Build.mapping(upstream)), "Providers, by name.", isRequired: true),
        Key(
            "routes",
            Build.list(
                of: Build.mapping(
                    route + AccessSchema.own + ResumeSchema.own + WorkflowSchema.own + [CompressionSchema.own])),
            "The first that matches in path, method, host and every condition takes the request.", isRequired: true),
    ]

    // MARK: - Clients' side

    private static let listener = [
        Key(
            "address", Build.text,
            "host:port with a numeric host, [v6]:port, :port for all IPv4 addresses, unix:/path, or systemd:NAME.",
            isRequired: true),
        Key("tls", Build.mapping(serverTLS), "Certificates; without them, clear text."),
    ]

    private static let certificate = [
        Key("certificate", Build.text, "A PEM file with the chain; read again on SIGHUP."),
        Key("private_key", Build.text, "A PEM file."),
    ]

    private static let serverTLS =
        certificate + [
            Key(
                "certificates", Build.list(of: Build.mapping(certificate)),
                "Further ones, chosen by the name that the client asks for (SNI)."),
            Key("client_ca", Build.text, "A PEM file; clients may show a certificate of this CA."),
            Key("require_client_certificate", Build.flag, "Clients must show one."),
            Key("minimum_version", Build.choice(["1.2", "1.3"]), "Of TLS."),
        ]

    private static let log = [
        Key("level", Build.choice(LogSpec.Level.self), "The least of what is logged."),
        Key("format", Build.choice(LogSpec.Format.self), "Of a line."),
        Key("access", Build.flag, "One line for each exchange, at its end."),
        Key(
            "content", Build.choice(LogSpec.Content.self),
            "What was said: nothing, providers' errors, requests too, answers too."),
    ]

    private static let admin = [
        Key(
            "address", Build.text, "127.0.0.1:9910, or unix:/path; any other address needs a token or expose.",
            isRequired: true),
        Key("token", Build.secret, "Asked of all but health checks and what is exposed, as a bearer token."),
        Key(
            "expose", Build.list(of: Build.choice(AdminSpec.Endpoint.self)),
            "What needs no token; without one, nothing else but health checks is served beyond this machine."),
    ]

    private static let errors = [
        Key("reveal_upstream", Build.flag, "They may name the upstream's address, and why it cannot be reached.")
    ]

    private static let resolver = [
        Key(
            "servers", Build.list(of: Build.text),
            "IPv4 addresses or [v6], with or without :port, in place of those in /etc/resolv.conf.")
    ]

    private static let limits = [
        Key("request_head_bytes", Build.size, "A request's head: 431."),
        Key("request_fields", Build.size, "Fields of a request: 431."),
        Key("target_bytes", Build.size, "A request's target: 414."),
        Key("upstream_head_bytes", Build.size, "An answer's head: 502."),
        Key("upstream_fields", Build.size, "Fields of an answer: 502."),
        Key("request_body_bytes", Build.size, "A request's body: 413."),
        Key("chunk_extension_bytes", Build.size, "Chunk extensions of one message: 400."),
        Key("stream_buffer_high_bytes", Build.size, "Waiting for one side: reading the other side pauses."),
        Key("stream_buffer_low_bytes", Build.size, "Reading goes on."),
        Key("event_bytes", Build.size, "One event of a stream while it is assembled."),
        Key("step_output_bytes", Build.size, "The answer of a step before the last: 502."),
        Key("handshake_timeout", Build.duration, "From the connection to the first byte of a request, TLS included."),
        Key("request_head_timeout", Build.duration, "From a head's first byte to its last."),
        Key("request_body_timeout", Build.duration, "Between two reads of a body: 408."),
        Key("request_body_rate", Build.size, "Bytes a second that a body must bring in the long run: 408. 0: any."),
        Key("client_idle_timeout", Build.duration, "Between two requests of a client."),
        Key("upstream_idle_timeout", Build.duration, "Of a pooled connection."),
        Key("slow_client", Build.duration, "A client that takes nothing while data waits: reset, upstream cancelled."),
        Key("ping_timeout", Build.duration, "A silent HTTP/2 client that does not answer a PING: dropped."),
        Key("client_unsent_bytes", Build.size, "What the kernel takes over for one client."),
        Key("upstream_receive_buffer_bytes", Build.size, "The kernel's buffer of one upstream connection."),
        Key("http2_streams", Build.size, "Open at a time on one client's connection."),
        Key("http2_stream_window_bytes", Build.size, "Body bytes under way on one stream, towards us."),
        Key("http2_connection_window_bytes", Build.size, "Body bytes under way on one connection."),
        Key("http2_resets", Build.size, "Streams reset by a client or because of it, at once."),
        Key("http2_resets_per_second", Build.size, "The same, after that."),
        Key("connections", Build.size, "All workers together; above it, accepting pauses."),
        Key(
            "connections_per_address", Build.size,
            "From one address, or one IPv6 /64; further ones are closed. 0: any."),
        Key(
            "buffered_bytes", Build.size,
            "In all buffers of the process: new requests get 503 above it. An eighth of memory if it is not given."),
        Key(
            "resume_buffers", Build.size,
            "Kept of all answers that can be read on; above it new ones cannot. Never over half of buffered_bytes."),
        Key("tasks", Build.size, "Workflows' tasks that run at a time, of the whole process: 503 above it."),
        Key("idle_upstream_connections", Build.size, "Kept for each upstream and worker."),
    ]

    // MARK: - Upstreams' side

    private static let dialect = [
        Key("framing", Build.choice(CustomDialect.Framing.self), "How the body is cut into payloads."),
        Key("text", Build.text, "Where the text stands in a payload: choices[0].delta.content.", isRequired: true),
        Key("finish", Build.text, "Where the finish reason stands. This or `done` is needed."),
        Key("error", Build.text, "Where the message of an error stands."),
        Key("done", Build.text, "The payload that ends the stream, such as [DONE]."),
    ]

    private static let upstream = [
        Key("url", Build.text, "http, https, or unix:/path/of.sock. This or `urls` is needed."),
        Key("urls", place, "Several places of the same kind, over which requests are spread."),
        Key("balance", Build.choice(Balance.self), "Which place gets the next request."),
        Key("health_check", Build.mapping(healthCheck), "Each place is asked by a request of our own."),
        Key("outlier", Build.mapping(outlier), "Places whose requests fail get none for a while."),
        Key("slow_start", Build.duration, "How long a place that comes back takes to its full share."),
        Key("max_connection_age", Build.duration, "After this a connection takes no more requests; 0 is never."),
        Key(
            "dialect", Build.openChoice(Dialect.self), "What it speaks; also a name under `dialects`.", isRequired: true
        ),
        Key("api_key", Build.secret, "Put where the dialect wants it."),
        Key("aws", Build.mapping(aws), "How requests to Bedrock are signed (SigV4), in place of an API key."),
        Key("headers", Build.names(of: Build.secret), "Put on every request."),
        Key("http", Build.choice(UpstreamSpec.HTTPVersion.self), "auto: what ALPN agrees on, else HTTP/1.1."),
        Key("keepalive", Build.mapping(keepalive), "HTTP/2: a PING when streams are open and nothing comes."),
        Key("tls", Build.mapping(clientTLS), "How it is verified, and what it is shown."),
        Key("timeouts", Build.mapping(timeouts), "0 is no limit."),
        Key("retries", Build.mapping(retries), "What is sent once more, before the first byte of an answer goes out."),
        Key("process", Build.mapping(process), "The server itself, where it is to come and go with the proxy."),
    ]

    private static let place = Build.list(
        of: [
            "anyOf": [
                Build.text,
                Build.mapping([
                    Key("url", Build.text, "http, https, or unix:/path/of.sock.", isRequired: true),
                    Key("weight", Build.number(PlaceSpec.weights), "Its part of the work, beside the others'."),
                ]),
            ]
        ], minimum: 1)

    private static let healthCheck = [
        Key("path", Build.text, "From the root of the host, not behind the URL's path.", isRequired: true),
        Key("interval", Build.duration, "Between two checks of a place."),
        Key("timeout", Build.duration, "For one check."),
        Key("unhealthy_after", Build.number(1...100), "Failed checks in a row."),
        Key("healthy_after", Build.number(1...100), "Passed checks in a row."),
        Key("expect", Build.text, "Statuses of one who is well: 200-299."),
    ]

    private static let outlier = [
        Key("consecutive_failures", Build.number(0...10_000), "That eject a place; 0 is never."),
        Key("ejection", Build.duration, "How long, the first time; the n-th time in a row n times as long."),
        Key("max_ejection", Build.duration, "But never longer."),
        Key(
            "max_ejected_percent", Build.number(0...100),
            "Of the places at a time; one may always be, the last never; all where a route goes on to another upstream."
        ),
    ]

    private static let process = [
        Key(
            "command", Build.list(of: Build.text, minimum: 1), "The program, looked up in PATH, and its arguments.",
            isRequired: true),
        Key("directory", Build.text, "Where it runs; default: where the proxy does."),
        Key("environment", Build.names(of: Build.secret), "On top of the proxy's own."),
        Key("ready", Build.mapping(ready), "When it may be asked; without a path, when its port accepts."),
        Key("restart", Build.choice(ProcessSpec.Restart.self), "When it has ended."),
        Key("backoff", Build.duration, "Before a restart; doubled at each further one."),
        Key("max_backoff", Build.duration, "The longest; a run that was ready for so long begins anew."),
        Key("stop_signal", Build.choice(ProcessSpec.StopSignal.self), "How it is asked to end."),
        Key("stop_timeout", Build.duration, "Then it, and all that it started, is killed."),
        Key("wait", Build.duration, "How long a request waits for a process that is starting: then 503."),
        Key("output", Build.choice(ProcessSpec.Output.self), "What becomes of the lines that it writes."),
    ]

    private static let ready = [
        Key("path", Build.text, "Answers GET with a 2xx once it is ready."),
        Key("timeout", Build.duration, "Then the start has failed; 0 is no limit."),
        Key("interval", Build.duration, "Between two questions."),
    ]

    private static let aws = [
        Key("region", Build.text, "Default: the one in the host, else AWS_REGION."),
        Key("access_key_id", Build.text, "Default: from the environment, the credentials file or the container."),
        Key("secret_access_key", Build.secret, "Goes with access_key_id."),
        Key("session_token", Build.secret, "Of temporary keys."),
        Key("profile", Build.text, "Of the shared credentials file."),
        Key("credentials_file", Build.text, "In place of ~/.aws/credentials."),
    ]

    private static let keepalive = [
        Key("interval", Build.duration, "Of silence; 0 is never."),
        Key("timeout", Build.duration, "For the answer."),
    ]

    static let clientTLS = [
        Key("ca", Build.text, "A PEM file in place of the system's store."),
        Key("server_name", Build.text, "In place of the URL's host."),
        Key("verify", Build.flag, "false accepts any certificate: for tests only."),
        Key("certificate", Build.text, "A PEM file, for providers that ask for one."),
        Key("private_key", Build.text, "A PEM file."),
    ]

    private static let redis = [
        Key("url", Build.text, "redis://user:password@host:6379/0, or rediss:// over TLS.", isRequired: true),
        Key("prefix", Build.text, "Of all keys and channels."),
        Key(
            "timeouts",
            Build.mapping([
                Key("connect", Build.duration, "Name, socket and TLS."),
                Key("reply", Build.duration, "For each reply; then Redis is taken for away."),
            ]), "Nobody waits for it but who reads from it."),
        Key("tls", Build.mapping(clientTLS), "How it is verified, and what it is shown."),
    ]

    private static let timeouts = [
        Key("connect", Build.duration, "Name, socket and TLS: 504."),
        Key("headers", Build.duration, "From the request to the head of the answer: 504."),
        Key("first_token", Build.duration, "From the head to the first token: 504."),
        Key("idle", Build.duration, "Between two reads of the answer: an error in the stream."),
        Key("total", Build.duration, "The whole exchange."),
    ]

    private static let retries = [
        Key("attempts", Build.number(0...10), "How often more, at most, a request goes to this upstream."),
        Key("backoff", Build.duration, "The wait is a random part of this, doubled each time."),
        Key("max_backoff", Build.duration, "The longest of these spans."),
        Key("max_retry_after", Build.duration, "An upstream that asks for more patience is not waited for."),
        Key(
            "on", Build.list(of: Build.number(408...599, or: RetrySpec.Word.allCases.map(\.rawValue))),
            "Statuses, and what may happen beside them."),
        Key("budget_percent", Build.number(0...1000), "Repetitions, of the requests of the last ten seconds."),
        Key("min_per_second", Build.number(0...1_000_000), "Repetitions that are always allowed, a worker."),
    ]

    // MARK: - Routes

    private static let route = [
        Key("path", Build.text, "Exact, or a prefix such as /v1/*.", isRequired: true),
        Key("host", Build.text, "The request's host."),
        Key("methods", Build.list(of: Build.choice(methods)), "Any but TRACE and CONNECT, if there are none."),
        Key(
            "when", Build.names(of: Build.text, pattern: #"^(path$|(body|header|query)\..+)"#),
            "All must hold; * is any run of characters, ? is one."),
        Key("request", Build.choice(RequestFormat.self), "What the client sends.", isRequired: true),
        Key("response", Build.choice(StreamFormat.self, more: ["auto"]), "What the client gets.", isRequired: true),
        Key(
            "upstream", Build.either(choice, orListOf: choice),
            "A name under `upstreams`, or several: the next is asked if one fails before its first token. Or `steps`."),
        StepSchema.own(choice: choice),
        Key(
            "upstream_path", Build.text,
            "Behind the upstream's URL, in place of the dialect's own path; * at its end: what stands behind a prefix."),
        Key("model", Build.text, "In place of the client's."),
        Key("strip_model_prefix", Build.text, "Taken off the front of the client's model."),
        Key("system", Build.text, "Put before the client's messages."),
        Key("defaults", Build.anyMapping, "Where the client is silent."),
        Key("overrides", Build.anyMapping, "Over what the client says."),
        Key("drop_unsupported", Build.flag, "Leaves out, and logs, what the upstream has no words for: else 400."),
        Key("vercel_ui", Build.mapping(vercelUI), "For response: vercel-ui."),
        Key("keepalive", Build.duration, "Of silence, in formats that have a keepalive."),
        Key("early_headers", Build.duration, "Commits 200 if there is no token by then."),
        Key(
            "on_disconnect", Build.choice(Route.OnDisconnect.self),
            "What becomes of the upstream when the client has left."),
        Key("smooth", smooth, "Text leaves in whole words, or one word each interval: a typing effect."),
        Key("forward_credentials", Build.flag, "Lets the client's own Authorization and cookies through."),
        Key("headers", Build.mapping(headers), "Put on messages."),
    ]

    private static let choice = Build.either(
        Build.text,
        Build.mapping([
            Key("name", Build.text, "A name under `upstreams`.", isRequired: true),
            Key("model", Build.text, "In place of the route's and the client's."),
        ]))

    private static let smooth = Build.either(
        ["enum": [false]],
        Build.either(
            Build.choice(["off", "word"]),
            Build.mapping([Key("interval", Build.duration, "Between two words; 5ms to 1s.", isRequired: true)])))

    private static let vercelUI = [
        Key("finish_reason", Build.flag, "true from AI SDK 5.0.92 on; older ones refuse the key."),
        Key("dynamic_tools", Build.flag, "true where the page has no tool of that name."),
    ]

    private static let headers = [
        Key("response", Build.names(of: Build.text), "Put on every answer.")
    ]

    private static let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
}
