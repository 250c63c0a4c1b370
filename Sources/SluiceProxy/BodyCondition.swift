import SluiceStreams

/// What a route's condition on the client's body is compared with.
enum BodyCondition {
    /// In bytes. A value that is longer is equal to no glob but `*`: each route would copy it.
    static let valueLimit = 16 << 10

    /// nil: there is no such value, or it is too long.
    static func text(at path: [String], of body: JSONValue, for glob: String) -> String? {
        guard let value = body.value(at: path) else { return nil }
        let isLong = value.string?.isLonger(than: valueLimit) ?? ((value.number?.utf8.count ?? 0) > valueLimit)
        if isLong { return glob == "*" ? "" : nil }
        return value.text(at: [])
    }
}
