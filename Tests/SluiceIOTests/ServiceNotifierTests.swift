import Glibc
import SluiceBytes
import Testing

@testable import SluiceIO

@Suite struct ServiceNotifierTests {
    @Test(arguments: [
        (ServiceMessage.ready(status: "serving\non\u{0} :80"), "READY=1\nSTATUS=serving on  :80"),
        (.reloading(since: Instant(nanoseconds: 12_345_678)), "RELOADING=1\nMONOTONIC_USEC=12345"),
        (.stopping(within: .seconds(2)), "STOPPING=1\nSTATUS=draining\nEXTEND_TIMEOUT_USEC=2000000"),
        (.watchdog, "WATCHDOG=1"), (.successor(process: 17), "MAINPID=17\nREADY=1"),
    ])
    func messages(message: ServiceMessage, text: String) {
        #expect(message.text == text)
    }

    @Test(arguments: [
        (["WATCHDOG_USEC": "30000000"], Interval.seconds(15)),
        (["WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "42"], .seconds(15)),
        (["WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "43"], nil), (["WATCHDOG_USEC": "0"], nil),
        (["WATCHDOG_USEC": "18446744073709551615"], nil), (["WATCHDOG_USEC": "x"], nil), ([:], nil),
    ])
    func watchdog(environment: [String: String], interval: Interval?) {
        #expect(ServiceMessage.watchdogInterval(environment, process: 42) == interval)
    }

    @Test(arguments: ["", "relative", "/", "vsock:2:1234", "/" + String(repeating: "x", count: 200), "/nobody/is/here"])
    func nobodyListens(path: String) {
        ServiceNotifier(["NOTIFY_SOCKET": path]).send(.watchdog)
    }
}
