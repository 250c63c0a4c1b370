import SluiceBytes
import SluiceHTTP

/// The client: a socket that takes all it is given. It only counts, unless it is to keep the body for a comparison.
struct ClientSide {
    private(set) var byteCount = 0
    private(set) var body: [UInt8] = []
    private(set) var isComplete = false
    private var parser: HTTP1ResponseParser?

    init(keepsBody: Bool) {
        guard keepsBody else { return }
        parser = HTTP1ResponseParser()
        parser?.begin(requestMethod: "POST")
    }

    mutating func receive(_ bytes: Span<UInt8>) throws {
        byteCount += bytes.count
        guard parser != nil else { return }
        var offset = 0
        while true {
            switch try parser?.next(bytes, at: &offset) {
            case .body(let range): bytes.extracting(range).withUnsafeBufferPointer { body.append(contentsOf: $0) }
            case .head, .interim: continue
            case .end: isComplete = true
            case .needMore, nil: return
            }
        }
    }
}
