import SluiceConfig
import SluiceIO
import Testing

@testable import SluiceProxy

@Suite struct ListenerPlanTests {
    private func keys(_ addresses: String...) throws -> [ListenerKey] {
        try ListenerKey.keys(addresses.map { ListenerSpec(address: $0) })
    }

    private func offer(_ address: String, name: String? = nil, key: String? = nil) throws -> OfferedSocket {
        OfferedSocket(name: name, key: key, address: try #require(SocketAddress(address)))
    }

    @Test func listenersAreTheSameByWhatTheyMean() throws {
        let first = try keys("localhost:80", ":0", ":0", "systemd:http", "unix:/a")
        let second = try keys("unix:/a", "0.0.0.0:0", "127.0.0.1:80", "systemd:https", "[::1]:80")
        #expect(first[0] == second[2] && first[4] == second[0] && first[1] == second[1])
        #expect(first[1] != first[2] && first[3] != second[3])
        #expect(Set(first.map(\.text)).count == first.count)
        #expect(throws: StartError.self) { try keys("example.com:80") }
    }

    @Test func aPredecessorsSocketsGoWhereTheyWere() throws {
        let keys = try keys("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:81")
        let offered = [
            try offer("127.0.0.1:5001", key: keys[1].text), try offer("127.0.0.1:5000", key: keys[0].text),
            try offer("127.0.0.1:5001", key: keys[1].text), try offer("127.0.0.1:82", key: "0 127.0.0.1:82"),
        ]
        #expect(ListenerPlan.match(keys, offered) == [keys[0]: [1], keys[1]: [0, 2]])
    }

    @Test func namesAndAddresses() throws {
        let keys = try keys("systemd:http", "127.0.0.1:81", ":82", ":83", "127.0.0.1:84", "unix:/a", "systemd:none")
        let offered = [
            try offer("127.0.0.1:81", name: "http"), try offer("127.0.0.1:80", name: "http"),
            try offer("127.0.0.1:81", name: "x"), try offer("[::]:82", name: "x"), try offer("0.0.0.0:83", name: "x"),
            try offer("[::]:83", name: "x"), try offer("[::]:84", name: "x"), try offer("unix:/a", name: ""),
        ]
        let expected = [keys[0]: [0, 1], keys[1]: [2], keys[2]: [3], keys[3]: [4], keys[5]: [7]]
        #expect(ListenerPlan.match(keys, offered) == expected)
    }

    @Test func oneSocketServesOneListener() throws {
        let keys = try keys("127.0.0.1:80", "127.0.0.1:80")
        #expect(ListenerPlan.match(keys, [try offer("127.0.0.1:80", name: "x")]) == [keys[0]: [0]])
    }

    @Test func everySocketHasAWorkerAndEveryWorkerASocket() {
        #expect(ListenerPlan.share(2, among: 2) == [[0], [1]])
        #expect(ListenerPlan.share(5, among: 2) == [[0, 2, 4], [1, 3]])
        #expect(ListenerPlan.share(2, among: 5) == [[0], [1], [0], [1], [0]])
        #expect(ListenerPlan.share(1, among: 3) == [[0], [0], [0]])
        #expect(ListenerPlan.share(0, among: 2) == [[], []])
        for sockets in 1..<9 {
            for workers in 1..<9 {
                let shares = ListenerPlan.share(sockets, among: workers)
                #expect(Set(shares.joined()) == Set(0..<sockets) && !shares.contains { $0.isEmpty })
            }
        }
    }

    @Test func aChangeKeepsWhatStaysAndOpensWhatIsNew() throws {
        func specs(_ addresses: String...) -> [ListenerSpec] { addresses.map { ListenerSpec(address: $0) } }
        var listeners = ServerListeners(workers: 2, inherited: [])
        try listeners.change(to: specs("127.0.0.1:0"), options: .init())
        #expect(listeners.all.count == 2)
        let first = listeners.addresses
        let numbers = listeners.all.map(\.socket.descriptor)
        try listeners.change(to: specs("127.0.0.1:0", "127.0.0.1:0"), options: .init())
        #expect(listeners.addresses.first == first.first && Set(listeners.addresses).count == 2)
        #expect(Array(listeners.all.map(\.socket.descriptor).prefix(2)) == numbers)
        #expect(listeners.shares.map { $0.map(\.parts.count) } == [[1, 1], [1, 1]])
        // One of the new ones cannot be opened: nothing has changed.
        let before = listeners.all.map(\.socket.descriptor)
        #expect(throws: StartError.self) {
            try listeners.change(to: specs("127.0.0.1:0", "[::1]:0", "systemd:http"), options: .init())
        }
        #expect(listeners.all.map(\.socket.descriptor) == before)
        try listeners.change(to: specs("127.0.0.1:0"), options: .init())
        #expect(listeners.addresses == first)
    }

    @Test func whatTheServiceManagerHoldsIsKeptForLater() throws {
        let socket = try ListeningSocket(binding: try #require(SocketAddress("127.0.0.1:0")))
        var listeners = ServerListeners(
            workers: 2, inherited: [InheritedSocket(socket, name: "http", key: nil)])
        try listeners.change(to: [ListenerSpec(address: "systemd:http")], options: .init())
        #expect(listeners.addresses == [socket.address])
        #expect(listeners.shares.allSatisfy { $0[0].isHeldElsewhere && $0[0].parts[0].isShared })
        try listeners.change(to: [ListenerSpec(address: "127.0.0.1:0")], options: .init())
        #expect(listeners.all.contains { $0.socket === socket })
        try listeners.change(to: [ListenerSpec(address: "\(socket.address)")], options: .init())
        #expect(listeners.addresses == [socket.address] && listeners.all.count == 1)
    }
}
