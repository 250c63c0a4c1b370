import Glibc

/// A system call that failed: which, and why.
public struct SystemError: Error, Equatable, Sendable, CustomStringConvertible {
    public let call: StaticName
    public let code: Int32

    /// A `StaticString` that can be compared.
    public struct StaticName: Equatable, Sendable, CustomStringConvertible {
        let text: StaticString
        public static func == (left: StaticName, right: StaticName) -> Bool { left.description == right.description }
        public var description: String { text.description }
    }

    public init(_ call: StaticString, _ code: Int32) { (self.call, self.code) = (StaticName(text: call), code) }

    /// The process, or the machine, has no descriptor left: neither side's fault, and soon over.
    public var isOutOfDescriptors: Bool { code == EMFILE || code == ENFILE }

    public var description: String { "\(call): \(String(cString: strerror(code)))" }

    /// Runs `body` until it is not interrupted; throws if it returned a negative number.
    @discardableResult
    static func check<N: FixedWidthInteger>(_ call: StaticString, _ body: () -> N) throws(SystemError) -> N {
        while true {
            let result = body()
            if result >= 0 { return result }
            let code = errno
            if code != EINTR { throw SystemError(call, code) }
        }
    }

    /// The same for calls of a `Kernel`.
    @discardableResult
    static func check(_ call: StaticString, _ body: () -> CallResult) throws(SystemError) -> Int {
        while true {
            let result = body()
            if result.code == 0 { return result.value }
            if result.code != EINTR { throw SystemError(call, result.code) }
        }
    }

    static func attempt(_ call: StaticString, _ body: () -> CallResult) throws(SystemError) -> Int? {
        while true {
            let result = body()
            if result.code == 0 { return result.value }
            if result.code == EAGAIN || result.code == EWOULDBLOCK { return nil }
            if result.code != EINTR { throw SystemError(call, result.code) }
        }
    }

    /// The same for calls that would block: nil stands for EAGAIN.
    static func attempt<N: FixedWidthInteger>(_ call: StaticString, _ body: () -> N) throws(SystemError) -> N? {
        while true {
            let result = body()
            if result >= 0 { return result }
            let code = errno
            if code == EAGAIN || code == EWOULDBLOCK { return nil }
            if code != EINTR { throw SystemError(call, code) }
        }
    }
}
