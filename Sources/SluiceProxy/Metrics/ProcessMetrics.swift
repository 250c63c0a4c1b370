import Glibc
import SluiceIO

/// What Prometheus' client libraries tell of every process, read from /proc when it is asked for.
struct ProcessMetrics {
    private(set) var residentBytes = 0
    private(set) var virtualBytes = 0
    private(set) var openDescriptors = 0
    private(set) var descriptorLimit = 0
    private(set) var cpuSeconds = 0.0
    private(set) var threads = 0

    static func read() -> ProcessMetrics {
        var metrics = ProcessMetrics()
        let pages = (text("/proc/self/statm") ?? "").split(separator: " ").compactMap { Int($0) }
        let pageBytes = max(0, sysconf(Int32(_SC_PAGESIZE)))
        if pages.count > 1 {
            (metrics.virtualBytes, metrics.residentBytes) = (pages[0] &* pageBytes, pages[1] &* pageBytes)
        }
        var used = timespec()
        if clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used) == 0 {
            metrics.cpuSeconds = Double(used.tv_sec) + Double(used.tv_nsec) / 1e9
        }
        var limit = rlimit()
        if getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 {
            metrics.descriptorLimit = Int(clamping: limit.rlim_cur)
        }
        metrics.openDescriptors = entries("/proc/self/fd")
        metrics.threads = entries("/proc/self/task")
        return metrics
    }

    /// Seconds since 1970; from the kernel, so that a reload of the program in place does not change it.
    static func startTime() -> Double {
        // The name in parentheses may hold spaces; the 20th field behind it is the start, in ticks since the boot.
        guard let stat = text("/proc/self/stat"), let end = stat.lastIndex(of: ")") else { return 0 }
        let fields = stat[stat.index(after: end)...].split(separator: " ")
        guard fields.count > 19, let ticks = Double(fields[19]), let system = text("/proc/stat") else { return 0 }
        let boot = system.split(separator: "\n").first { $0.hasPrefix("btime ") }?.dropFirst(6)
        return (boot.flatMap { Double($0) } ?? 0) + ticks / Double(max(1, sysconf(Int32(_SC_CLK_TCK))))
    }

    private static func entries(_ folder: String) -> Int {
        guard let handle = opendir(folder) else { return 0 }
        defer { closedir(handle) }
        var count = 0
        while readdir(handle) != nil { count += 1 }
        return max(0, count - 2)
    }

    private static func text(_ path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while bytes.count < 1 << 20 {
            let count = Glibc.read(descriptor, &buffer, buffer.count)
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { break }
            bytes += buffer[..<count]
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
