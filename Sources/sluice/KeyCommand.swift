import Glibc
import SluiceBytes
import SluiceConfig
import SluiceIO

/// `sluice key`: makes API keys for `auth: {api_keys: …}`. A key is shown once and stored nowhere; the file has its hash.
enum KeyCommand {
    /// The first line printed is the key, the second the line for the file. `hash` reads the key from standard input instead.
    static func run(_ arguments: [String]) throws(CommandOptions.Fault) -> Int32 {
        let options = try CommandOptions(arguments, values: ["name"])
        let name = options.text("name") ?? "client"
        guard options.operands.count == 1, ["new", "hash"].contains(options.operands[0]) else {
            throw CommandOptions.Fault("key takes new or hash")
        }
        guard (1...128).contains(name.utf8.count),
            name.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "#") && $0 != ASCII.quote })
        else { throw CommandOptions.Fault("--name is at most 128 characters of ASCII, without space, # and quotes") }
        do {
            if options.operands[0] == "hash" { return try hash(name) }
            let key = try fresh()
            return CommandLineTool.say("\(key)\n\(try line(name, Array(key.utf8)))\n")
        } catch {
            CommandLineTool.write("sluice: \(error)\n", to: 2)
            return 1
        }
    }

    private static func hash(_ name: String) throws -> Int32 {
        var bytes = [UInt8](repeating: 0, count: 4097)
        var count = 0
        while count < bytes.count {
            let more = bytes.withUnsafeMutableBytes { read(0, $0.baseAddress?.advanced(by: count), $0.count - count) }
            if more < 0, errno == EINTR { continue }
            guard more > 0 else { break }
            count += more
        }
        var key = bytes[..<count]
        while key.last == ASCII.lf || key.last == ASCII.cr { key.removeLast() }
        guard (1...4096).contains(key.count) else {
            CommandLineTool.write("sluice: no key of 1 to 4,096 bytes on standard input\n", to: 2)
            return 1
        }
        return CommandLineTool.say("\(try line(name, Array(key)))\n")
    }

    /// 256 bits of the kernel's, in base64 for URLs.
    private static func fresh() throws -> String {
        var bytes = [UInt8](repeating: 0, count: 32)
        guard getentropy(&bytes, bytes.count) == 0 else { throw SystemError("getentropy", errno) }
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)
        var text = Array("slc_".utf8)
        var (bits, count): (UInt32, UInt32) = (0, 0)
        for byte in bytes {
            bits = (bits & 0x3F) << 8 | UInt32(byte)
            count += 8
            while count >= 6 {
                count -= 6
                text.append(alphabet[Int(bits >> count & 63)])
            }
        }
        if count > 0 { text.append(alphabet[Int(bits << (6 - count) & 63)]) }
        return String(decoding: text, as: UTF8.self)
    }

    private static func line(_ name: String, _ key: [UInt8]) throws -> String {
        "\(name) \(Digest.hex(try Digest.sha256(key.span)))"
    }
}
