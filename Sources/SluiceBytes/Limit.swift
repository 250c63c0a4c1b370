/// A bound that something crossed: the name that stands in the configuration, the error and the log, and its value.
public struct Limit: Error, Equatable, Sendable, CustomStringConvertible {
    public let name: String
    public let value: Int

    public init(_ name: String, _ value: Int) { (self.name, self.value) = (name, value) }

    public var description: String { "limit \(name) of \(value) crossed" }
}
