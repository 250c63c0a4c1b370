import Glibc

/// Who descends from whom, as `/proc` tells it.
enum ProcessTree {
    /// All living descendants of `root`. Where there is no `/proc`, none.
    static func descendants(of root: pid_t) -> [pid_t] {
        guard let folder = opendir("/proc") else { return [] }
        defer { closedir(folder) }
        var children: [pid_t: [pid_t]] = [:]
        while let entry = readdir(folder) {
            // The kernel's entries are shorter than the type says, so the name is read where it stands.
            guard let offset = MemoryLayout<dirent>.offset(of: \.d_name) else { return [] }
            let name = String(cString: (UnsafeRawPointer(entry) + offset).assumingMemoryBound(to: CChar.self))
            guard let pid = pid_t(name), let parent = parent(of: pid) else { continue }
            children[parent, default: []].append(pid)
        }
        var found: [pid_t] = []
        var open = [root]
        while let next = open.popLast() {
            let own = children.removeValue(forKey: next) ?? []
            found += own
            open += own
        }
        return found
    }

    /// nil if it has ended.
    private static func parent(of pid: pid_t) -> pid_t? {
        let file = open("/proc/\(pid)/stat", O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var text = [UInt8](repeating: 0, count: 512)
        let count = read(file, &text, text.count)
        return count > 0 ? parent(inStat: text[..<count]) : nil
    }

    /// The fourth field. The second is a name in parentheses which may hold anything, also parentheses and spaces (proc(5)).
    static func parent(inStat text: ArraySlice<UInt8>) -> pid_t? {
        guard let end = text.lastIndex(of: UInt8(ascii: ")")) else { return nil }
        let fields = text[(end + 1)...].split(separator: UInt8(ascii: " "))
        guard fields.count > 1 else { return nil }
        return pid_t(String(decoding: fields[1], as: UTF8.self))
    }
}
