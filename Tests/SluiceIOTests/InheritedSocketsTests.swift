import Glibc
import Testing

@testable import SluiceIO

@Suite struct InheritedSocketsTests {
    typealias Note = InheritedSocket.Note

    @Test func theServiceManagersConvention() {
        let environment = ["LISTEN_FDS": "3", "LISTEN_PID": "42", "LISTEN_FDNAMES": "http::admin"]
        let notes = InheritedSocket.notes(environment, process: 42)
        #expect(
            notes == [
                Note(descriptor: 3, name: "http"), Note(descriptor: 4, name: ""), Note(descriptor: 5, name: "admin"),
            ])
    }

    @Test func fewerNamesThanDescriptors() {
        let notes = InheritedSocket.notes(["LISTEN_FDS": "2", "LISTEN_PID": "42"], process: 42)
        #expect(notes == [Note(descriptor: 3, name: ""), Note(descriptor: 4, name: "unknown")])
    }

    @Test(arguments: [
        ["LISTEN_FDS": "1", "LISTEN_PID": "43"], ["LISTEN_FDS": "1"], ["LISTEN_FDS": "-1", "LISTEN_PID": "42"],
        ["LISTEN_FDS": "x", "LISTEN_PID": "42"], ["LISTEN_FDS": "2147483647", "LISTEN_PID": "42"], [:],
        [InheritedSocket.variable: "1\town\tx\nnonsense\n-3\tname\ty\n9999999999\town\tz"],
    ])
    func whatIsNotForUs(environment: [String: String]) {
        #expect(InheritedSocket.notes(environment, process: 42) == [])
    }

    @Test func aSuccessorIsToldTheSame() {
        let notes = [
            Note(descriptor: 7, key: "0 127.0.0.1:0"), Note(descriptor: 9, name: "http"),
            Note(descriptor: 11, key: "1 unix:/with\ttab", ownsPath: true), Note(descriptor: 12, name: ""),
        ]
        let environment = [InheritedSocket.variable: InheritedSocket.variableValue(notes)]
        #expect(InheritedSocket.notes(environment, process: 1) == notes)
    }

    @Test func onlyListeningSocketsAreTaken() throws {
        let address = try #require(SocketAddress("127.0.0.1:0"))
        let ours = try ListeningSocket(binding: address)
        let taken = try ListeningSocket(inheriting: dup(ours.descriptor), ownsPath: false)
        #expect(taken.address == ours.address)
        let file = open("/dev/null", O_RDONLY)
        #expect(throws: SystemError.self) { try ListeningSocket(inheriting: file, ownsPath: false) }
        #expect(throws: SystemError("fcntl", EBADF)) { try ListeningSocket(inheriting: 1 << 20, ownsPath: false) }
    }

    @Test func aPortThatOthersServeIsNotFree() throws {
        let any = try #require(SocketAddress("127.0.0.1:0"))
        let ours = try ListeningSocket(binding: any)
        #expect(throws: SystemError("bind", EADDRINUSE)) { try ListeningSocket.checkIsFree(ours.address) }
        // Though it could be shared.
        let second = try ListeningSocket(binding: ours.address)
        #expect(second.address == ours.address)
        try ListeningSocket.checkIsFree(any)
    }
}
